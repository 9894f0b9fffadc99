import { useEventSource } from "@vueuse/core";
import { watch } from "vue";

export function listen(url, show, load) {
  const { eventSource, close } = useEventSource(url);
  // Its `data` has only the newest message, and does not change if the next one is equal.
  watch(eventSource, (source) => {
    source?.addEventListener("message", (event) => show(JSON.parse(event.data)));
    source?.addEventListener("reset", () => load());
    source?.addEventListener("end", close);
  }, { immediate: true });
  return close;
}
