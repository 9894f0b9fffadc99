import { connectStreamSource } from "@hotwired/turbo";
import { Source } from "flask-redis-events";

connectStreamSource(new Source("/stream/board"));
