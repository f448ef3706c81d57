import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Browser, chromium, type Page } from "playwright-core";
import { tool } from "../tools.js";
import { until } from "../unit/head-end/fake-meter.js";
import { DemoFleet } from "./demo-fleet.js";

const { path: executablePath, skip } = tool("chromium");
let fleet: DemoFleet;
let browser: Browser;
const complaints: string[] = [];
const LOST = 6;
const SINGLE_PHASE = 2;

before(async () => {
	if (skip) return;
	fleet = await DemoFleet.start({ days: 2, hours: 0.5, readingSeconds: 30 });
	browser = await chromium.launch({
		executablePath,
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
});

after(async () => {
	await browser?.close();
	await fleet?.stop();
});

/** A page that notes every complaint: console, uncaught errors, failed requests, violations of the policy. */
async function open(hash: string, options: { dark?: boolean; width?: number; height?: number } = {}): Promise<Page> {
	const page = await browser.newPage({
		viewport: { width: options.width ?? 1440, height: options.height ?? 900 },
		colorScheme: options.dark ? "dark" : "light",
	});
	page.setDefaultTimeout(30_000);
	page.on("console", (message) => {
		if (message.type() === "error" || message.type() === "warning") complaints.push(`console: ${message.text()}`);
	});
	page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
	page.on("response", (response) => {
		if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`);
	});
	await page.addInitScript(
		"addEventListener('securitypolicyviolation', (e) => console.error('policy: ' + e.violatedDirective + ' ' + e.blockedURI))",
	);
	await page.goto(`http://127.0.0.1:${fleet.port}/${hash}`);
	return page;
}

/** How many pixels of a canvas are not like its first one. */
function drawnPixels(page: Page, selector: string): Promise<number> {
	return page.evaluate(`(() => {
		const canvas = document.querySelector(${JSON.stringify(selector)});
		if (!canvas) return -1;
		const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
		let drawn = 0;
		for (let at = 4; at < data.length; at += 4)
			if (data[at] !== data[0] || data[at + 1] !== data[1] || data[at + 2] !== data[2] || data[at + 3] !== data[3]) drawn++;
		return drawn;
	})()`) as Promise<number>;
}

async function drawn(page: Page, selector: string): Promise<void> {
	await page.locator(selector).first().scrollIntoViewIfNeeded();
	await until(`something is drawn in ${selector}`, async () => (await drawnPixels(page, selector)) > 500);
}

test("the fleet: eight meters with values and units, power over time, sorting and search", { skip }, async () => {
	const page = await open("");
	await page.waitForSelector("tbody tr:nth-child(8)");
	assert.equal(await page.locator("tbody tr").count(), 8);
	const line = (await page.locator("tbody tr").first().innerText()).replace(/\s+/g, " ");
	assert.match(
		line,
		/70b3 d5a1 c001 0e01 online [−\d.,]+ k?W [\d.]+ V [\d.]+ [\d.,]+ kWh [\d.,]+ kWh \d+ s ago 0\.0 s 0 4/,
	);
	assert.match(await page.locator(".tile").first().innerText(), /Power now\s+[−\d.]+\s*k?W/);
	assert.match(await page.locator(".tile").nth(1).innerText(), /8\s*of 8/);
	await drawn(page, "#fleet-power canvas");
	await drawn(page, "tbody tr:first-child .spark canvas");

	const first = (): Promise<string | null> => page.locator("tbody tr").first().getAttribute("data-id");
	await page.getByRole("button", { name: "A+" }).click();
	assert.equal(await page.locator("th.c-import").first().getAttribute("aria-sort"), "descending");
	assert.equal(await first(), fleet.meters[7]!.id);
	await page.getByRole("searchbox").fill("c003 ae");
	assert.equal(await page.locator("tbody tr").count(), 1);
	assert.equal(await first(), fleet.meters[LOST]!.id);
	// by keys alone: from the search to the meter
	await page.getByRole("searchbox").focus();
	await page.locator("tbody tr a").focus();
	await page.keyboard.press("Enter");
	await page.waitForSelector(".meter-head h1");
	assert.equal(new URL(page.url()).hash, `#/meter/${fleet.meters[LOST]!.id}`);
	await page.close();
});

test("live: a reading changes the table without a reload, and a meter that goes shows as offline", {
	skip,
}, async () => {
	const page = await open("");
	await page.waitForSelector("tbody tr:nth-child(8)");
	const row = page.locator(`tr[data-id="${fleet.meters[0]!.id}"]`);
	const before = await row.innerText();
	await fleet.step(30);
	await until("the line changes", async () => (await row.innerText()) !== before);
	fleet.meters[4]!.cut();
	const gone = page.locator(`tr[data-id="${fleet.meters[4]!.id}"]`);
	await until("offline", async () => /offline/.test(await gone.innerText()));
	assert.equal(await gone.locator("td.c-power span").innerText(), "–", "what it measured before is not shown as now");
	await page.close();
});

test("one meter: every chart is drawn, tables hold registers, events and the link; by deep link", {
	skip,
}, async () => {
	const page = await open(`#/meter/${fleet.meters[1]!.id}`);
	await page.waitForSelector("#waveform canvas");
	for (const chart of ["waveform", "phasors", "quadrants", "power-over-time", "load-profile"])
		await drawn(page, `#${chart} canvas`);
	assert.match((await page.locator(".tiles").innerText()).replace(/\s+/g, " "), /Active power −[\d.]+ kW exporting/);
	assert.match(await page.locator("#phases").innerText(), /L1\s+L2\s+L3/);
	await page.waitForSelector("#registers tbody tr:nth-child(11)");
	const registers = (await page.locator("#registers tbody").innerText()).replace(/\s+/g, " ");
	assert.match(registers, /1-0:1\.8\.0 A\+ active import [\d,]+\.\d{3} kWh/);
	assert.match(registers, /1-0:1\.6\.0 A\+ active import, maximum demand 6\.31 kW/);
	assert.equal(await page.locator("#events tbody tr").count(), fleet.meters[1]!.events.length);
	await page.waitForSelector("#diagnostics tbody tr:nth-child(3)");
	assert.match(await page.locator("#diagnostics tbody").innerText(), /uptime seconds\s+4,711/);
	assert.match(await page.locator("#link").innerText(), /Rows missing\s+none/);
	assert.match((await page.locator("#load-profile .chart").getAttribute("aria-label")) ?? "", /intervals of 15 min/);

	const note = await page.locator("#waveform .note").innerText();
	const rows = await page.locator("#load-profile .note").innerText();
	await fleet.step(900);
	await page.locator("#waveform").scrollIntoViewIfNeeded();
	await until(
		"a new interval is in the profile",
		async () => (await page.locator("#load-profile .note").innerText()) !== rows,
	);
	await until("the waveform is refreshed", async () => (await page.locator("#waveform .note").innerText()) !== note);
	await page.getByRole("button", { name: "Pause" }).click();
	assert.equal(await page.getByRole("button", { name: "Resume" }).getAttribute("aria-pressed"), "true");
	await page.getByRole("link", { name: "← Fleet" }).click();
	await page.waitForSelector("table.fleet");
	await page.close();
});

test("intervals that are not here are told, and a single phase shows as one", { skip }, async () => {
	const lost = await open(`#/meter/${fleet.meters[LOST]!.id}`);
	await until("the hole is told", async () => /9 not here/.test(await lost.locator("#load-profile .note").innerText()));
	assert.match(await lost.locator("#link").innerText(), /Rows lost on the meter\s+9: \d+–\d+/);
	await lost.close();
	const single = await open(`#/meter/${fleet.meters[SINGLE_PHASE]!.id}`);
	await single.waitForSelector("#phasors canvas");
	assert.match(await single.locator("#phases thead").innerText(), /^\s*L1\s*$/);
	await single.close();
});

test("narrow, dark, and a meter that nobody knows: no sideways scrolling, no empty page", { skip }, async () => {
	for (const hash of ["", `#/meter/${fleet.meters[1]!.id}`]) {
		const page = await open(hash, { dark: true, width: 390, height: 844 });
		await page.waitForSelector("canvas");
		assert.equal(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), true, hash);
		assert.equal(await page.evaluate("getComputedStyle(document.body).backgroundColor"), "rgb(13, 17, 25)");
		await page.close();
	}
	const unknown = await browser.newPage();
	await unknown.goto(`http://127.0.0.1:${fleet.port}/#/meter/00000000000000ff`);
	await until("it is said", async () => /no such meter/i.test(await unknown.locator("main").innerText()));
	await unknown.close();
});

test("nothing on the console, no failed request, no violation of the content security policy", { skip }, () => {
	assert.deepEqual(complaints, []);
});
