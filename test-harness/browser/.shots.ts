import { chromium } from "playwright-core";
import { tool } from "../tools.js";
import { DemoFleet } from "./demo-fleet.js";

const fleet = await DemoFleet.start({ days: 4, hours: 1, readingSeconds: 20 });
console.log("port", fleet.port);
fleet.meters[4]!.cut();
const browser = await chromium.launch({
	executablePath: tool("chromium").path,
	args: [
		"--headless",
		"--no-sandbox",
		"--disable-gpu",
		"--disable-quic",
		"--no-first-run",
		"--disable-background-networking",
		"--disable-component-update",
		"--disable-sync",
	],
});
for (const [name, width, height, scheme] of [
	["d-light", 1440, 900, "light"],
	["d-dark", 1440, 900, "dark"],
	["p-dark", 390, 844, "dark"],
	["p-light", 390, 844, "light"],
] as const) {
	const page = await browser.newPage({ viewport: { width, height }, colorScheme: scheme, deviceScaleFactor: 1 });
	page.on("console", (m) => console.log(name, m.type(), m.text()));
	page.on("pageerror", (e) => console.log(name, "ERR", e));
	await page.goto(`http://127.0.0.1:${fleet.port}/`);
	await page.waitForSelector("tbody tr");
	await page.waitForTimeout(1500);
	await page.screenshot({ path: `/tmp/shots/fleet-${name}.png`, fullPage: true });
	for (const i of name.startsWith("d") ? [1, 6, 2, 4] : [1]) {
		await page.goto(`http://127.0.0.1:${fleet.port}/#/meter/${fleet.meters[i]!.id}`);
		await page.waitForTimeout(2500);
		for (let k = 0; k < 3; k++) {
			await fleet.step(1);
			await page.waitForTimeout(300);
		}
		await page.waitForTimeout(1000);
		await page.screenshot({ path: `/tmp/shots/meter${i}-${name}.png`, fullPage: true });
	}
	await page.close();
}
await browser.close();
await fleet.stop();
