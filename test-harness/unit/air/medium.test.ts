import assert from "node:assert/strict";
import { test } from "node:test";
import { VirtualClock } from "../../air/clock.js";
import { Mac, type MacListener, MacStatus } from "../../air/mac.js";
import {
	BROADCAST_ADDRESS,
	decodeMacFrame,
	encodeMacFrame,
	frameCheck,
	MAC_FRAME_MAX,
	MacType,
} from "../../air/mac-frame.js";
import { Medium } from "../../air/medium.js";
import { seed } from "../../seed.js";
import { Random } from "../../waveforms/random.js";

class Station implements MacListener {
	readonly received: Buffer[] = [];
	readonly mac: Mac;
	constructor(medium: Medium, address: number) {
		this.mac = new Mac(medium, new Random(seed, `station ${address}`), address.toString(16).padStart(16, "0"), this);
		this.mac.panId = 0x1a62;
		this.mac.shortAddress = address;
	}
	macData(_source: unknown, _target: unknown, payload: Uint8Array): void {
		this.received.push(Buffer.from(payload));
	}
	macCommand(): void {}
	macBeacon(): void {}
}

function world(count: number): { clock: VirtualClock; medium: Medium; stations: Station[] } {
	const clock = new VirtualClock();
	const medium = new Medium(clock, new Random(seed, "medium"));
	return { clock, medium, stations: Array.from({ length: count }, (_, i) => new Station(medium, i + 1)) };
}

test("the frame check of IEEE 802.15.4", () => {
	// IEEE 802.15.4-2006 section 7.2.1.9: MHR 0100 0000 0000 0000 0101 0110, FCS 0010 0111 1001 1110, first bit first.
	assert.equal(frameCheck(Uint8Array.of(0x02, 0x00, 0x6a), 3), 0x79e4);
	const frame = encodeMacFrame({
		type: MacType.data,
		sequence: 1,
		panId: 1,
		target: 2,
		source: 3,
		payload: Buffer.from("x"),
	});
	assert.equal(frame.length, 12);
	assert.deepEqual(Buffer.from(decodeMacFrame(frame)!.payload).toString(), "x");
	frame[4]! ^= 1;
	assert.equal(decodeMacFrame(frame), undefined, "a flipped bit is seen");
	assert.throws(
		() => encodeMacFrame({ type: MacType.data, sequence: 1, target: 2, payload: new Uint8Array(120) }),
		RangeError,
	);
});

test("a full frame takes 4.256 ms of air, its acknowledgement 0.352 ms", () => {
	assert.equal(Medium.airtimeMicroseconds(MAC_FRAME_MAX), 4_256);
	assert.equal(Medium.airtimeMicroseconds(5), 352);
});

test("two that hear each other take turns; two that do not, collide", () => {
	for (const isHidden of [false, true]) {
		const { clock, medium, stations } = world(3);
		const [a, b, c] = stations as [Station, Station, Station];
		if (isHidden) medium.link(a.mac.radio, b.mac.radio, undefined);
		let failed = 0;
		for (let round = 0; round < 100; round++) {
			for (const from of [a, b])
				from.mac.sendData(c.mac.shortAddress, new Uint8Array(100), (status) => {
					if (status !== MacStatus.success) failed++;
				});
			clock.runSeconds(1);
		}
		// Equal back-offs happen: two that hear each other may still lose a frame in a few hundred.
		if (isHidden) assert.ok(failed > 20 && medium.statistics.collisions > 100, `seed ${seed}: ${failed} failed`);
		else
			assert.ok(
				failed <= 4 && medium.statistics.collisions < 90,
				`seed ${seed}: ${failed}, ${medium.statistics.collisions}`,
			);
		// A frame whose acknowledgements were all lost has arrived all the same.
		const arrived = c.received.length;
		assert.ok(arrived >= 200 - failed && arrived <= 200, `seed ${seed}: ${arrived} arrived, ${failed} failed`);
	}
});

test("noise: the channel is never clear, and the sender says so", () => {
	const { clock, medium, stations } = world(2);
	medium.jam(1_000_000);
	const statuses: number[] = [];
	stations[0]!.mac.sendData(2, new Uint8Array(1), (status) => statuses.push(status));
	clock.runSeconds(0.5);
	assert.equal(statuses.join(), [MacStatus.channelAccessFailure].join());
	clock.runSeconds(1);
	stations[0]!.mac.sendData(2, new Uint8Array(1), (status) => statuses.push(status));
	clock.runSeconds(0.5);
	assert.equal(statuses.join(), [MacStatus.channelAccessFailure, MacStatus.success].join());
});

test("nobody there: three retries, then no acknowledgement", () => {
	const { clock, medium, stations } = world(1);
	const statuses: number[] = [];
	stations[0]!.mac.sendData(9, new Uint8Array(1), (status) => statuses.push(status));
	clock.runSeconds(1);
	assert.equal(statuses.join(), [MacStatus.noAck].join());
	assert.equal(medium.statistics.frames, 4);
});

test("a frame for a sleeper waits until it polls, and expires after 7.68 s", () => {
	const { clock, stations } = world(2);
	const [parent, child] = stations as [Station, Station];
	child.mac.isReceiverOnWhenIdle = false;
	child.mac.refresh();
	parent.mac.isSleepyChild = (address) => address === 2;
	const statuses: number[] = [];
	parent.mac.sendData(2, Buffer.from("wake up"), (status) => statuses.push(status));
	clock.runSeconds(2);
	assert.equal(child.received.length, 0);
	child.mac.poll(1, (status) => statuses.push(status));
	clock.runSeconds(0.5);
	assert.equal(child.received[0]?.toString(), "wake up");
	assert.equal(statuses.join(), [MacStatus.success, MacStatus.success].join());
	parent.mac.sendData(2, Buffer.from("too late"), (status) => statuses.push(status));
	clock.runSeconds(8);
	assert.equal(statuses.at(-1), MacStatus.transactionExpired);
	child.mac.poll(1, (status) => statuses.push(status));
	clock.runSeconds(0.5);
	assert.equal(statuses.at(-1), MacStatus.noData);
});

test("a broadcast reaches all that listen, loss takes its share", () => {
	const { clock, medium, stations } = world(2);
	medium.link(stations[0]!.mac.radio, stations[1]!.mac.radio, { lossPerMille: 300 });
	for (let i = 0; i < 1_000; i++) {
		stations[0]!.mac.sendData(BROADCAST_ADDRESS, Uint8Array.of(i & 0xff), () => {});
		clock.runSeconds(0.02);
	}
	const heard = stations[1]!.received.length;
	assert.ok(heard > 640 && heard < 760, `seed ${seed}: ${heard} of 1000`);
});
