// The browser that tests play in, by its name or path.
import { execFileSync } from "node:child_process";
import { chromium } from "playwright-core";

export const launch = (name) =>
  chromium.launch({
    executablePath: execFileSync("sh", ["-c", 'command -v "$0"', name], { encoding: "utf8" }).trim(),
    args: ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
  });
