import { live } from "layout";
import { advance, show } from "./show.js";

const $ = (id) => document.getElementById(id);
const job = $("job");

show(job);

// All steps come from the start, and after the last one the end: nothing is to be loaded.
live(job.dataset.stream, {
  message({ digest, ...news }) {
    advance(job, news);
    if (!digest) return;
    $("digest").textContent = digest;
    $("result").hidden = false;
  },
  end: ({ state }) => show(job, { state }),
});
