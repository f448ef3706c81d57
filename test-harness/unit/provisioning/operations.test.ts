import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { createDeviceFile, type DeviceFile, encodeDeviceFile } from "../../../src/provisioning/device-file.js";
import { checkUnique, makeBatch, parseId } from "../../provisioning/batch.js";
import { loadDeviceFile, type OpenedDeviceFile } from "../../provisioning/device-files.js";
import {
	dayText,
	decommissionDevice,
	describe,
	nextKeys,
	parseDay,
	reseedDevice,
	writeDevice,
} from "../../provisioning/operations.js";
import { OpticalClient } from "../../provisioning/optical-client.js";
import type { OpticalLine } from "../../provisioning/optical-line.js";
import { FileLock } from "../../provisioning/sealed-file.js";
import { UserError } from "../../user-error.js";
import { newFlash } from "../key-store/world.js";
import { METER_ID } from "./samples.js";
import { TestAuthority } from "./test-authority.js";
import { TestMeter } from "./world.js";

const folder = mkdtempSync(join(tmpdir(), "wattlock-provision-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const ID = Buffer.from(METER_ID).toString("hex");
const DAY = 9_000;

/** The optical head on a meter; answers can be lost. */
class Head implements OpticalLine {
	meter: TestMeter;
	losesAnswers = 0;
	#received: (bytes: Uint8Array) => void = () => {};

	constructor(meter: TestMeter) {
		this.meter = meter;
	}

	send(bytes: Uint8Array): void {
		const question = Uint8Array.from(bytes);
		const { machine } = this.meter;
		machine.receive(0, question, question.length);
		const into = new Uint8Array(512);
		const count = machine.transmit(into);
		setImmediate(() => {
			if (this.losesAnswers > 0) this.losesAnswers--;
			else this.#received(into.subarray(0, count));
		});
	}

	onReceived(listener: (bytes: Uint8Array) => void): void {
		this.#received = listener;
	}

	onClosed(): void {}
	close(): void {}
}

interface Bench {
	readonly authority: TestAuthority;
	readonly flash: ReturnType<typeof newFlash>;
	readonly head: Head;
	readonly client: OpticalClient;
	make(action: (into: DeviceFile) => void): OpenedDeviceFile;
}

function bench(): Bench {
	const flash = newFlash();
	const head = new Head(new TestMeter(flash));
	const client = new OpticalClient(head, { timeoutMilliseconds: 10 });
	return {
		authority: new TestAuthority("bench"),
		flash,
		head,
		client,
		make(action) {
			const file = createDeviceFile();
			action(file);
			const bytes = Buffer.alloc(168);
			encodeDeviceFile(file, bytes, 0);
			return { file, bytes };
		},
	};
}

const NEW = { id: ID, domain: 0x0102, shortAddress: 0x0304, epoch: DAY } as const;

test("make, write, reseed, decommission, and the next owner", async () => {
	const { authority, client, make, flash, head } = bench();
	const first = make((into) => authority.add(NEW, into));
	assert.deepEqual(await writeDevice(client, first), { isProven: true });
	const second = make((into) => authority.renew(ID, DAY, into));
	assert.deepEqual(await reseedDevice(client, authority, second, DAY), { isProven: true });
	assert.equal((await client.identify()).generation, 2);

	head.meter = new TestMeter(flash);
	assert.equal(head.meter.keys.witness(1), Status.ok);
	assert.deepEqual(await decommissionDevice(client, authority, ID, DAY), { isProven: true });
	assert.equal(authority.list()[0]?.isDecommissioned, true);
	const third = make((into) => authority.add(NEW, into));
	assert.equal(third.file.generation, 3, "a generation is never given out twice");
	assert.deepEqual(await writeDevice(client, third), { isProven: true });
	assert.match(
		describe(await client.identify()),
		/^acde480000000001, firmware 1\.0\.0, has keys, generation 3, day 9000 \(2024-08-22\)$/,
	);
});

test("lost answers: the meter acts once, and what it has done is found out", async () => {
	const { authority, client, make, head, flash } = bench();
	const first = make((into) => authority.add(NEW, into));
	const send = head.send.bind(head);
	let questions = 0;
	head.send = (bytes) => {
		send(bytes);
		// Power fails after the second question, PROVISION: its answer is lost, and the meter forgets that it was asked.
		if (++questions === 2) {
			head.losesAnswers = 1;
			head.meter = new TestMeter(flash);
		}
	};
	assert.deepEqual(await writeDevice(client, first), { isProven: false });
	assert.equal((await client.identify()).generation, 1);

	questions = 1;
	head.send = (bytes) => {
		send(bytes);
		if (++questions === 3) head.losesAnswers = 1;
	};
	const second = make((into) => authority.renew(ID, DAY, into));
	assert.deepEqual(await reseedDevice(client, authority, second, DAY), { isProven: true }, "answered from memory");
});

test("the wrong meter, keys that are there, keys that are not: one line, and nothing is sent", async () => {
	const { authority, client, make, head } = bench();
	const other = make((into) => authority.add({ ...NEW, id: "acde480000000002" }, into));
	await assert.rejects(
		writeDevice(client, other),
		/in front of the optical head is acde480000000001, not acde480000000002/,
	);
	const first = make((into) => authority.add(NEW, into));
	const second = make((into) => authority.renew(ID, DAY, into));
	await assert.rejects(reseedDevice(client, authority, second, DAY), /has no keys: give it some/);
	await writeDevice(client, first);
	await assert.rejects(writeDevice(client, first), /has keys of generation 1 already/);
	await assert.rejects(writeDevice(client, second), /has keys already; renew them/);
	const third = make((into) => authority.renew(ID, DAY, into));
	await assert.rejects(reseedDevice(client, authority, third, DAY), /has generation 1, the device file 3/);
	assert.equal(
		head.meter.machine.counters.counts.reduce((sum, n, status) => (status === 0 ? sum : sum + n), 0),
		0,
	);
	const impostor = new TestAuthority("another master key");
	impostor.add(NEW, createDeviceFile());
	impostor.renew(ID, DAY, createDeviceFile());
	await assert.rejects(decommissionDevice(client, impostor, ID, DAY), /the authorisation is not this head end's/);
	assert.equal((await client.identify()).generation, 1);
	assert.equal(impostor.list()[0]?.isDecommissioned, false, "what the meter refused is not written down as done");
});

test("which keys come next is decided by what the meter has: a failed attempt costs no generation", async () => {
	const { authority, client, make, flash, head } = bench();
	await assert.rejects(
		async () => nextKeys(authority, await client.identify(), DAY, createDeviceFile()),
		/has no keys/,
	);
	await writeDevice(
		client,
		make((into) => authority.add(NEW, into)),
	);
	const next = async () => {
		const identity = await client.identify();
		return make((into) => nextKeys(authority, identity, DAY, into));
	};
	const lost = await next();
	assert.equal(lost.file.generation, 2);
	assert.deepEqual((await next()).file, lost.file, "the same keys again: the meter has not got them");
	await reseedDevice(client, authority, await next(), DAY);
	assert.equal((await next()).file.generation, 3);
	authority.renew(ID, DAY, createDeviceFile());
	await assert.rejects(next(), /has generation 2, the head end 4: have it forget its keys/);

	const before = flash.image;
	authority.meters.get(ID)!.generation = 2;
	await reseedDevice(client, authority, await next(), DAY);
	head.meter = new TestMeter(newFlash({ image: before })); // flash of generation 2 was put back
	await assert.rejects(next(), /has generation 2, the head end 3: have it forget its keys/, "3 was confirmed");
	await decommissionDevice(client, authority, ID, DAY);
	await assert.rejects(next(), /has no keys/);
});

test("a meter that stands at an old day is given the ANCHOR first", async () => {
	const { authority, client, make, head } = bench();
	await writeDevice(
		client,
		make((into) => authority.add(NEW, into)),
	);
	const { meter } = head;
	authority.anchors.set(DAY + 5, Uint8Array.of(2));
	meter.host.anchor = () => {
		const status = meter.keys.stageEpoch(DAY + 5, true);
		return status === Status.ok ? meter.keys.commitEpoch() : status;
	};
	const second = make((into) => authority.renew(ID, DAY + 5, into));
	assert.deepEqual(await reseedDevice(client, authority, second, DAY + 5), { isProven: true });
	assert.equal((await client.identify()).epoch, DAY + 5);
});

test("a meter that has no keys any more is decommissioned at the head end all the same", async () => {
	const { authority, client, make } = bench();
	make((into) => authority.add(NEW, into));
	assert.deepEqual(await decommissionDevice(client, authority, ID, DAY), { isProven: false });
	assert.equal(authority.list()[0]?.isDecommissioned, true);
});

test("1,000 devices: 2,000 roots, no two alike, none of them in any file in the clear", () => {
	const authority = new TestAuthority("batch");
	const lock = FileLock.ofKeyFile(join(folder, "batch.key"), true);
	const out = join(folder, "batch");
	const options = { count: 1000, domain: 7, firstId: "02000000000003e8", epoch: DAY, folder: out } as const;
	let progressed = 0;
	const paths = makeBatch(authority, lock, { ...options, onProgress: (done) => (progressed = done) });
	assert.equal(paths.length, 1000);
	assert.equal(progressed, 1000);
	assert.equal(readdirSync(out).length, 1000);
	const files = paths.map((path) => loadDeviceFile(path, lock).file);
	assert.deepEqual(checkUnique(files), []);
	assert.equal(new Set(files.map(({ shortAddress }) => shortAddress)).size, 1000);
	assert.equal(Buffer.from(files[999]!.id).toString("hex"), "02000000000007cf");
	assert.throws(() => makeBatch(authority, lock, options), /02000000000003e8 has keys already/);
	assert.throws(
		() => makeBatch(authority, lock, { ...options, firstId: "0200000000000300", count: 1000 }),
		/has keys already/,
	);
	assert.equal(authority.list().length, 1000, "nothing of a refused batch is left");
	files[3]!.roots.set(files[5]!.roots.subarray(32), 0);
	files[4]!.roots.fill(0, 32);
	assert.deepEqual(checkUnique(files), [
		"02000000000003ec: R_N is no random value",
		"02000000000003ed: R_N is the same as 02000000000003eb's R_E",
	]);
	authority.decommission("02000000000003e8");
	const again = makeBatch(authority, lock, { ...options, count: 1 });
	assert.equal(loadDeviceFile(again[0]!, lock).file.generation, 2);
});

test("words of the command line", () => {
	assert.equal(parseId("02:00:00-00:00:00:03:E8"), "02000000000003e8");
	for (const text of ["", "12", "0000000000000000", "ffffffffffffffff", "g200000000000000"])
		assert.throws(() => parseId(text), UserError);
	assert.equal(parseDay("2026-11-24"), 9824);
	assert.equal(parseDay("9824"), 9824);
	assert.equal(dayText(9824), "2026-11-24");
	for (const text of ["1999-12-31", "tomorrow", "-1", "2026-13-01", "65536", "1.5"])
		assert.throws(() => parseDay(text), UserError, text);
	const authority = new TestAuthority("x");
	const lock = FileLock.ofKeyFile(join(folder, "batch.key"), false);
	const options = { count: 2, domain: 1, firstId: "ffffffffffffffff", epoch: 1, folder } as const;
	assert.throws(() => makeBatch(authority, lock, options), /nobody's/);
	assert.throws(
		() => makeBatch(authority, lock, { ...options, firstId: "fffffffffffffffe", count: 3 }),
		/over the end/,
	);
});
