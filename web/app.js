// What every page loads. Pages read and forms submit without it; this adds what needs a browser:
// live updates, dialogs in place, copying, shortcuts, and times that keep themselves current.
// Nothing is evaluated from text and no style is written, so that the content security policy
// can forbid both.

import htmx from "htmx.org";

import { start as startCopying } from "./js/copy.js";
import { start as startDialogs } from "./js/dialogs.js";
import { start as startForms } from "./js/forms.js";
import { start as startKeys } from "./js/keys.js";
import { start as startLists } from "./js/list.js";
import { start as startLive } from "./js/live.js";
import { start as startMenus } from "./js/menus.js";
import { start as startPalette } from "./js/palette.js";
import { start as startTerminal } from "./js/terminal-opener.js";
import { start as startTheme } from "./js/theme.js";
import { start as startTimes } from "./js/times.js";

Object.assign(htmx.config, {
  allowEval: false,
  allowScriptTags: false,
  includeIndicatorStyles: false,
  selfRequestsOnly: true,
  historyCacheSize: 0, // pages show money and machines: never a stale copy
  refreshOnHistoryMiss: true,
  responseHandling: [
    { code: "204", swap: false },
    { code: "[23]..", swap: true },
    { code: "422", swap: true }, // a form with its errors
    { code: "[45]..", swap: false, error: true },
  ],
});

for (const start of [
  startTheme,
  startMenus,
  startCopying,
  startTimes,
  startForms,
  startDialogs,
  startKeys,
  startPalette,
  startTerminal,
  startLists,
  startLive,
]) {
  start();
}
