import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import type {
	CaptureView,
	EventView,
	LiveMessage,
	MeterSummaryView,
	MeterView,
	PowerPointView,
	ProfileView,
	ReadingView,
	StatusView,
} from "../../head-end/api.js";
import { HttpServer, parseTime } from "../../head-end/server.js";
import { Bench, START_UTC } from "./bench.js";
import { type FakeMeter, row, until } from "./fake-meter.js";

let bench: Bench;
let server: HttpServer;
let meter: FakeMeter;
let base = "";

before(async () => {
	bench = await new Bench().start();
	server = new HttpServer(bench.headEnd);
	await server.listen(0, "127.0.0.1");
	base = `http://127.0.0.1:${server.port}`;
	meter = await bench.meter("00000000000000aa");
	for (let sequence = 0; sequence < 30; sequence++) meter.rows.push(row(sequence));
	meter.rows.splice(10, 1);
	meter.events.push({ sequence: 0, utcSeconds: 800_000_000, code: 1, detail: -3 });
	await meter.connect(bench.broker.url);
	await bench.settle();
	await meter.sendReading();
	await bench.step(5);
	await meter.sendReading((reading) => {
		reading.phases[0].powerMilliwatts = -5_000_000;
	});
	await bench.step(5);
});

after(async () => {
	await server.close();
	await bench.close();
});

async function get<Answer>(path: string, init: RequestInit = {}): Promise<Answer> {
	const response = await fetch(base + path, init);
	assert.equal(response.status, 200, path);
	return (await response.json()) as Answer;
}

async function refused(path: string, init: RequestInit = {}): Promise<[number, string]> {
	const response = await fetch(base + path, init);
	return [response.status, ((await response.json()) as { error: string }).error];
}

test("meters, one meter, status, readings, power, events", async () => {
	const [summary] = await get<MeterSummaryView[]>("/api/meters");
	assert.equal(summary?.id, meter.id);
	assert.equal(summary?.reading?.powerMilliwatts, -5_000_000 + 440_000);
	assert.equal(summary?.powerHistoryMilliwatts.length, 2);
	const view = await get<MeterView>(`/api/meters/${meter.id}`);
	assert.equal(view.profile.stored, 29);
	assert.deepEqual(view.profile.gone, [{ first: 10, next: 11 }]);
	assert.equal(view.hello?.netting, "perPhase");
	const status = await get<StatusView>("/api/status");
	assert.equal(status.broker.connected, true);
	assert.equal(status.totals.meters, 1);
	assert.equal(status.totals.powerExportMilliwatts, 4_560_000);
	const readings = await get<ReadingView[]>(`/api/meters/${meter.id}/readings`);
	assert.deepEqual(
		readings.map(({ readingIndex }) => readingIndex),
		[0, 1],
	);
	const since = readings[0]!.receivedUtcSeconds;
	assert.equal((await get<ReadingView[]>(`/api/meters/${meter.id}/readings?since=${since}`)).length, 1);
	const points = await get<PowerPointView[]>("/api/power?seconds=60&points=10");
	assert.equal(points[points.length - 1]?.exportMilliwatts, 4_560_000);
	const events = await get<EventView[]>(`/api/meters/${meter.id}/events`);
	assert.equal(events[0]?.detail, -3);
});

test("load profile: all, a span by either kind of time, CSV by name and by Accept", async () => {
	const all = await get<ProfileView>(`/api/meters/${meter.id}/profile`);
	assert.equal(all.rows.length, 29);
	assert.equal(all.rows[0]?.activeEnergyImportIncrement, null, "nothing before the first row");
	assert.equal(all.rows[1]?.activeEnergyImportIncrement, 250_000);
	assert.equal(all.rows[10]?.activeEnergyImportIncrement, null, "nothing is guessed behind a hole");
	const from = row(5).intervalStartSeconds;
	const to = row(8).intervalStartSeconds;
	for (const span of [
		`from=${from}&to=${to}`,
		`from=${new Date((from + 946_684_800) * 1000).toISOString()}&to=${new Date((to + 946_684_800) * 1000).toISOString()}`,
	]) {
		const part = await get<ProfileView>(`/api/meters/${meter.id}/profile?${span}`);
		assert.deepEqual(
			part.rows.map(({ sequence }) => sequence),
			[5, 6, 7, 8],
		);
	}
	const byName = await fetch(`${base}/api/meters/${meter.id}/profile.csv?from=${from}&to=${to}`);
	const text = await byName.text();
	assert.match(byName.headers.get("content-type") ?? "", /^text\/csv/);
	const lines = text.trimEnd().split("\r\n");
	assert.equal(lines.length, 5);
	assert.match(lines[0]!, /^series,sequence,intervalStart,/);
	assert.match(lines[1]!, /^0,5,2025-05-08T\d\d:\d\d:00\.000Z,900,0,,1,2250000,50000,25000,500,250000,10000,/);
	const byAccept = await fetch(`${base}/api/meters/${meter.id}/profile?from=${from}&to=${to}`, {
		headers: { accept: "text/csv" },
	});
	assert.equal(await byAccept.text(), text);
	assert.equal(parseTime("2000-01-01T00:00:10Z"), 10);
});

test("questions to the meter: answered, or told why not", async () => {
	meter.captureChannels = [
		{ microunitsPerCode: 12_500, codes: [0, 1] },
		{ microunitsPerCode: 3_500, codes: [0, 1] },
	];
	const capture = await get<CaptureView>(`/api/meters/${meter.id}/capture`, { method: "POST" });
	assert.equal(capture.channels.length, 2);
	await get(`/api/meters/${meter.id}/snapshot`, { method: "POST" });
	await get(`/api/meters/${meter.id}/diagnostics`, { method: "POST" });
	const configure = (readingSeconds: unknown): RequestInit => ({
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify({ readingSeconds }),
	});
	assert.deepEqual(await get(`/api/meters/${meter.id}/configure`, configure(20)), { ok: true });
	assert.equal(meter.requests[meter.requests.length - 1]?.first, 20);
	assert.deepEqual(await refused(`/api/meters/${meter.id}/configure`, configure(0)), [
		400,
		"readingSeconds must be a whole number from 1 to 3600",
	]);
	meter.captureChannels = undefined;
	const late = refused(`/api/meters/${meter.id}/capture`, { method: "POST" });
	const before = meter.requests.length;
	await until("the question is there", () => meter.requests.length > before);
	for (let second = 0; second < 11; second++) await bench.step(1);
	assert.deepEqual(await late, [504, `meter ${meter.id} did not answer within 10 s`]);
});

test("wrong addresses and arguments get one line that says what is allowed", async () => {
	assert.deepEqual(await refused("/api/meters/00000000000000ff"), [404, "no such meter"]);
	assert.deepEqual(await refused("/api/meters/../../etc/passwd"), [404, "no such address"]);
	assert.deepEqual(await refused("/%2e%2e/%2e%2e/package.json"), [404, "no such address"]);
	assert.equal((await refused(`/api/meters/${meter.id}/profile?from=yesterday`))[0], 400);
	assert.deepEqual(await refused("/api/power?points=1"), [400, "points must be a whole number from 10 to 2000"]);
	assert.equal((await refused(`/api/meters/${meter.id}/configure`, { method: "POST", body: "{" }))[0], 400);
});

/** A request with headers that fetch would not send. */
function raw(path: string, headers: Record<string, string>): Promise<number> {
	return new Promise((resolve, reject) => {
		httpRequest(`${base}${path}`, { headers }, (response) => {
			response.resume();
			resolve(response.statusCode ?? 0);
		})
			.on("error", reject)
			.end();
	});
}

test("a strict policy on every answer; other sites and other names of this host are refused", async () => {
	for (const path of ["/", "/page.js", "/api/status", "/nothing"]) {
		const response = await fetch(base + path);
		const policy = response.headers.get("content-security-policy") ?? "";
		assert.match(policy, /default-src 'none'/);
		assert.doesNotMatch(policy, /unsafe/);
		assert.equal(response.headers.get("x-content-type-options"), "nosniff");
		await response.arrayBuffer();
	}
	const html = await (await fetch(`${base}/`)).text();
	assert.doesNotMatch(html, /<script(?![^>]*src=)|style=| on\w+=/i, "nothing inline");
	assert.equal(await raw("/api/status", { host: `127.0.0.1:${server.port}` }), 200);
	assert.equal(await raw("/api/status", { host: "evil.example" }), 403, "DNS rebinding");
	assert.equal(await raw("/api/status", { origin: "http://evil.example" }), 403);
	const socket = new WebSocket(`ws://127.0.0.1:${server.port}/api/live`, { origin: "http://evil.example" });
	const error = await new Promise<Error>((resolve) => socket.on("error", resolve));
	assert.match(error.message, /403/);
});

test("the live socket tells the fleet, then what changes", async () => {
	const socket = new WebSocket(`ws://127.0.0.1:${server.port}/api/live`);
	const messages: LiveMessage[] = [];
	socket.on("message", (data) => messages.push(JSON.parse(String(data)) as LiveMessage));
	await until("the fleet", () => messages.some(({ type }) => type === "fleet"));
	assert.deepEqual(
		messages.slice(0, 2).map(({ type }) => type),
		["status", "fleet"],
	);
	await meter.sendReading();
	await meter.addRows(row(30));
	await meter.addEvents({ sequence: 1, utcSeconds: START_UTC, code: 2, detail: 0 });
	await until("all deltas", () =>
		["meters", "readings", "profile", "events"].every((type) => messages.some((message) => message.type === type)),
	);
	const readings = messages.find((message) => message.type === "readings");
	assert.equal(readings?.type === "readings" && readings.readings[0]?.readingIndex, 2);
	socket.close();
});
