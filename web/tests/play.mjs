// Plays files from a hub in Chromium: time goes on, seeking works, each ends without an error.
// node play.mjs BROWSER SECONDS URL…
import { launch } from "./browser.mjs";

const [browserPath, seconds, ...urls] = process.argv.slice(2);
const length = Number(seconds);
const browser = await launch(browserPath);
try {
  const page = await browser.newPage();
  const origin = new URL(urls[0]).origin;
  const body = "<!doctype html><video muted width=640 height=360></video>";
  // The page has the hub's own origin, as the hub's pages have.
  await page.route(`${origin}/player.html`, (route) => route.fulfill({ contentType: "text/html", body }));
  await page.goto(`${origin}/player.html`);
  for (const url of urls) {
    await page.evaluate(async ({ url, length }) => {
      const video = document.querySelector("video");
      const until = async (what, holds) => {
        const end = Date.now() + 60000;
        while (!holds()) {
          const told = `${url}: ${what}: at ${video.currentTime}, ready ${video.readyState}, ${video.error?.message}`;
          if (video.error || Date.now() > end) throw new Error(told);
          await new Promise((later) => setTimeout(later, 50));
        }
      };
      video.src = url;
      await until("nothing is shown", () => video.readyState >= 2 && video.videoWidth > 0);
      video.play();
      await until("it stands still", () => video.currentTime > 0.4);
      video.pause();
      for (const to of [length * 0.7, length * 0.3]) {
        video.currentTime = to;
        await until(`cannot seek to ${to}`, () => !video.seeking && video.readyState >= 2 && Math.abs(video.currentTime - to) < 0.1);
      }
      video.currentTime = length - 0.5;
      video.play();
      await until("it does not end", () => video.ended);
      if (Math.abs(video.duration - length) > 0.2) throw new Error(`${url}: ${video.duration} s`);
    }, { url, length });
  }
} finally {
  await browser.close();
}
