// @ts-check
/**
 * The editor's bundle, which the set-up builds: loaded as soon as it is there.
 *
 * @typedef {{script: string, building: boolean, problem: string}} BundleState
 */

import { ApiError, call } from "../api.js";

const BUILDING_MS = 1500;
const MISSING_MS = 10_000;

/**
 * @param {(sentence: string) => void} say what is missing, and how it comes; "" once it is there
 * @returns {Promise<any>} the bundle's exports, as soon as it can be loaded
 */
export async function loadEditor(say) {
  for (let failures = 0; ; ) {
    const { script, sentence, pause } = await look();
    if (script) {
      try {
        // A module that failed to load is not asked for again under the same address.
        const editor = await import(failures ? `${script}?again=${failures}` : script);
        say("");
        return editor;
      } catch {
        failures += 1;
        say("The editor could not be loaded; it is tried again. Check the connection.");
      }
    } else {
      say(sentence);
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

async function look() {
  try {
    /** @type {BundleState} */
    const { script, building, problem } = await call("/documents/editor.json");
    if (building) return { script, pause: BUILDING_MS, sentence: "The editor is being built; it opens here by itself." };
    return { script, pause: MISSING_MS, sentence: problem };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { script: "", pause: MISSING_MS, sentence: `The editor could not be loaded. ${error.message}` };
  }
}
