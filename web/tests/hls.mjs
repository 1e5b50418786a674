// Plays an HLS package from a hub in Chromium with hls.js: time goes on, seeking works, all renditions decode.
// node hls.mjs BROWSER http://127.0.0.1:8000/api/v1/jobs/ID/hls/master.m3u8 SECONDS RENDITIONS
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { launch } from "./browser.mjs";

const [browserPath, list, seconds, renditions] = process.argv.slice(2);
const length = Number(seconds);
const library = await readFile(createRequire(import.meta.url).resolve("hls.js/dist/hls.js"), "utf8");
const page_of_player = "<!doctype html><video muted width=640 height=360></video><script src=/hls.js></script>";

const browser = await launch(browserPath);
try {
  const page = await browser.newPage();
  const origin = new URL(list).origin;
  // The page has the hub's own origin, as the hub's pages have.
  await page.route(`${origin}/player.html`, (route) => route.fulfill({ contentType: "text/html", body: page_of_player }));
  await page.route(`${origin}/hls.js`, (route) => route.fulfill({ contentType: "text/javascript", body: library }));
  await page.goto(`${origin}/player.html`);
  const seen = await page.evaluate(async ({ list, length, renditions }) => {
    const video = document.querySelector("video");
    const errors = [];
    const hls = new Hls();
    // A seek or another rendition ends a load that is under way, and a busy machine stands still for a moment.
    const usual = ["aborted", Hls.ErrorDetails.BUFFER_STALLED_ERROR, Hls.ErrorDetails.BUFFER_NUDGE_ON_STALL];
    hls.on(Hls.Events.ERROR, (_, data) => {
      if (data.fatal || !usual.includes(data.details)) errors.push(`${data.type} ${data.details} fatal=${data.fatal} ${data.error}`);
    });
    video.addEventListener("error", () => errors.push(`video ${video.error?.code} ${video.error?.message}`));
    const state = () => {
      const ranges = [...Array(video.buffered.length).keys()].map((i) => `${video.buffered.start(i)}-${video.buffered.end(i)}`);
      const player = `level ${hls.currentLevel}, loading ${hls.loadLevel}, next ${hls.nextLoadLevel}`;
      return `at ${video.currentTime}, ready ${video.readyState}, paused ${video.paused}, seeking ${video.seeking}, has ${ranges}, ${player}`;
    };
    const until = async (what, holds) => {
      const end = Date.now() + 60000;
      while (!holds()) {
        if (Date.now() > end) throw new Error(`${what}: ${state()}; ${errors.join("; ")}`);
        await new Promise((later) => setTimeout(later, 50));
      }
    };
    hls.loadSource(list);
    hls.attachMedia(video);
    await until("no playlist", () => hls.levels.length > 0);
    // Renditions are chosen when it plays: hls.js forgets a choice that is made while it starts.
    await until("nothing is shown", () => video.readyState >= 2);
    if (hls.levels.length !== renditions) throw new Error(`${hls.levels.length} renditions`);
    const heights = [];
    for (let level = 0; level < renditions; level += 1) {
      hls.currentLevel = level;
      // What `play` promises comes with the first picture, which is waited for below.
      video.play().catch((error) => errors.push(`play: ${error}`));
      const start = video.currentTime;
      await until(`rendition ${level} stands still`, () => video.currentTime > start + 0.4 && hls.currentLevel === level);
      await until(`rendition ${level} is not shown`, () => video.videoHeight === hls.levels[level].height);
      heights.push(video.videoHeight);
      video.pause();
      for (const to of [length * 0.7, length * 0.3]) {
        video.currentTime = to;
        await until(`cannot seek to ${to}`, () => !video.seeking && video.readyState >= 2 && Math.abs(video.currentTime - to) < 0.1);
      }
    }
    video.currentTime = length - 0.5;
    video.play().catch((error) => errors.push(`play: ${error}`));
    await until("it does not end", () => video.ended);
    return { errors, heights, duration: video.duration, sounds: hls.audioTracks.length, subtitles: hls.subtitleTracks.length };
  }, { list, length, renditions: Number(renditions) });
  console.log(JSON.stringify(seen));
  if (seen.errors.length > 0 || Math.abs(seen.duration - length) > 0.1) process.exitCode = 1;
} finally {
  await browser.close();
}
