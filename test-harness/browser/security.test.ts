import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Browser, chromium } from "playwright-core";
import { HttpServer } from "../head-end/server.js";
import { tool } from "../tools.js";
import { IDENTIFIER, World } from "../unit/commands/world.js";
import { Bench } from "../unit/head-end/bench.js";
import { until } from "../unit/head-end/fake-meter.js";

const { path: executablePath, skip } = tool("chromium");
const ID = Buffer.from(IDENTIFIER).toString("hex");
let bench: Bench;
let server: HttpServer;
let browser: Browser;
let ticking: NodeJS.Timeout;
const world = new World();

before(async () => {
	if (skip) return;
	bench = await new Bench(undefined, true).start();
	const meters = [await bench.meter(ID), await bench.meter()];
	meters[0]!.onOther = async (message) => {
		world.utcSeconds = bench.clock.utcSeconds();
		world.send(message);
		for (const each of world.answers()) await meters[0]!.sendMessage(each);
	};
	await bench.step(3);
	for (const meter of meters) {
		await meter.connect(bench.broker.url);
		await bench.step(1);
		await until("the witness", () => meter.keys!.store.isWitnessed);
		await bench.settle();
		await meter.sendReading();
	}
	await bench.step(1);
	server = new HttpServer(bench.headEnd);
	await server.listen(0, "127.0.0.1");
	let busy = false;
	ticking = setInterval(() => {
		if (busy) return;
		busy = true;
		void Promise.all(meters.map((meter) => meter.sendReading()))
			.then(() => bench.step(1))
			.finally(() => {
				busy = false;
			});
	}, 500);
	browser = await chromium.launch({ executablePath, args: ["--headless", "--no-sandbox", "--disable-gpu"] });
});

after(async () => {
	clearInterval(ticking);
	await browser?.close();
	await server?.close();
	await bench?.close();
});

test("the page shows keys and counters, sends a command, and runs attacks that the meter refuses", {
	skip,
}, async () => {
	const complaints: string[] = [];
	const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
	page.setDefaultTimeout(20_000);
	page.on("pageerror", (error) => complaints.push(error.message));
	await page.goto(`http://127.0.0.1:${server.port}/#/`);
	const fleet = page.locator("#fleet-security");
	await fleet.getByText("Meters in the registry").waitFor();
	assert.match((await fleet.textContent()) ?? "", /2, 2 with an open session/);

	await page.goto(`http://127.0.0.1:${server.port}/#/meter/${ID}`);
	const security = page.locator("#security");
	await security.getByText("Witnessed head").waitFor();
	await page.waitForFunction("document.querySelector('#security').textContent.includes('key record')");
	const text = (await security.textContent()) ?? "";
	assert.match(text, /Sessionopen/, text);
	assert.match(text, /of 32 open/, "the window");
	assert.match(text, /Head end's own logok/, "the own log");

	await page.locator("#commands select").selectOption({ label: "Disconnect" });
	await page.locator("#commands button").click();
	await page.locator("#commands tbody .tag.good", { hasText: "executed" }).waitFor();
	assert.equal(world.device.relay, false, "the relay is open");

	for (const kind of ["replay", "tamper", "forge", "stale", "foreign"]) {
		await page.locator(`#attacks button[data-attack="${kind}"]`).click();
		const result = page.locator(`.attack[data-kind="${kind}"]`);
		await result.waitFor();
		assert.equal(await result.getAttribute("data-held"), "true", (await result.textContent()) ?? kind);
	}
	assert.deepEqual(complaints, []);
	await page.close();
});
