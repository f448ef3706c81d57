import assert from "node:assert/strict";
import { test } from "node:test";
import { Ade7953Chip } from "../../chips/ade7953-chip.js";
import { Atm90e32Chip } from "../../chips/atm90e32-chip.js";
import { Bl0942Chip } from "../../chips/bl0942-chip.js";
import { SpiBus } from "../../chips/buses.js";
import { Cse7766Chip } from "../../chips/cse7766-chip.js";
import { IllegalAccess } from "../../chips/illegal-access.js";
import { Mains } from "../../chips/mains.js";
import { Pzem004tChip } from "../../chips/pzem-004t-chip.js";
import { SerialLine, type SerialPeer } from "../../chips/serial-line.js";
import { seed } from "../../seed.js";
import { Random } from "../../waveforms/random.js";

function send(chip: SerialPeer, bytes: readonly number[], at = 1000): void {
	for (const [i, byte] of bytes.entries()) chip.receive(byte, at + i);
}

function line(): SerialLine {
	return new SerialLine(new Random(seed));
}

test("BL0942 reports what its datasheet does not allow", () => {
	const chip = () => new Bl0942Chip(new Mains(), line(), 1000, 3824.5);
	const write = (register: number, value: number, spoil = 0) => {
		const bytes = [0xa8, register, value & 255, (value >> 8) & 255, value >> 16];
		return [...bytes, (~bytes.reduce((sum, byte) => sum + byte, 0) & 255) ^ spoil];
	};
	assert.throws(() => send(chip(), [0x42]), IllegalAccess, "no command");
	assert.throws(() => send(chip(), write(0x19, 0x0f)), IllegalAccess, "protected");
	assert.throws(() => send(chip(), write(0x06, 0)), IllegalAccess, "read-only");
	assert.throws(() => send(chip(), write(0x1d, 0x55, 1)), IllegalAccess, "checksum");
	assert.throws(() => send(chip(), [0x58, 0x3c]), IllegalAccess, "no register");
	const open = chip();
	send(open, write(0x1d, 0x55));
	send(open, write(0x19, 0x0f), 2000);
	assert.equal(open.register(0x19), 0x0f);
	send(open, write(0x1c, 0x5a5a5a), 3000);
	assert.equal(open.register(0x19), 0x87, "reset");
	const torn = chip();
	send(torn, [0xa8, 0x1d]);
	send(torn, [0x58], 2000);
	assert.equal(torn.commandCount, 0, "a gap ends a command");
});

test("CSE7766 and PZEM-004T report what they do not know", () => {
	assert.throws(() => new Cse7766Chip(new Mains(), line()).receive(), IllegalAccess);
	const chip = () => new Pzem004tChip(new Mains(), line());
	assert.throws(() => send(chip(), [0xf8, 0x04, 0, 0, 0, 10, 0, 0]), IllegalAccess, "CRC");
	assert.throws(() => send(chip(), [0xf8, 0x42]), IllegalAccess, "reset of its energy");
});

test("ADE7953 reports what its data sheet does not allow", () => {
	const make = () => {
		const chip = new Ade7953Chip(new Mains(2), new SpiBus(new Random(seed)), 1000, [5000, 5000]);
		chip.advance(200);
		return chip;
	};
	const write = (register: number, ...bytes: number[]) => Uint8Array.of(register >> 8, register & 255, 0x00, ...bytes);
	assert.throws(() => make().transfer(Uint8Array.of(0, 4, 0x40, 0)), IllegalAccess, "command");
	assert.throws(() => make().transfer(write(0x21e, 0, 0, 0)), IllegalAccess, "read-only");
	assert.throws(() => make().transfer(write(0x004, 0, 0)), IllegalAccess, "length");
	assert.throws(() => make().transfer(write(0x120, 0, 0x30)), IllegalAccess, "without its key");
	assert.throws(() => make().transfer(write(0x203, 0, 0xe4, 0x19)), IllegalAccess, "threshold while it is in force");
	assert.throws(() => make().transfer(write(0x282, 0x10, 0, 0)), IllegalAccess, "gain");
	const chip = make();
	chip.transfer(write(0x040, 7));
	assert.throws(() => chip.transfer(write(0x004, 0)), IllegalAccess, "protected");
	chip.transfer(write(0x040, 0));
	chip.transfer(write(0x004, 0));
	assert.equal(chip.setting(0x004), 0);
});

test("ATM90E32 reports what its datasheet does not allow; energy clears when it is read", () => {
	const make = () => {
		const mains = new Mains(3);
		mains.set(0, { currentAmperes: 10 });
		return new Atm90e32Chip(mains, new SpiBus(new Random(seed)), 7305, 27_961);
	};
	const write = (register: number, value: number) => Uint8Array.of(0, register, value >> 8, value & 255);
	assert.throws(() => make().transfer(Uint8Array.of(0, 0, 0)), IllegalAccess, "32 bits");
	assert.throws(() => make().transfer(write(0x33, 0x87)), IllegalAccess, "without its key");
	assert.throws(() => make().transfer(write(0x81, 0)), IllegalAccess, "read-only");
	assert.throws(() => make().transfer(write(0x70, 1)), IllegalAccess, "reset code");
	assert.throws(() => make().transfer(Uint8Array.of(0x80, 0x50, 0, 0)), IllegalAccess, "no register");
	const chip = make();
	chip.transfer(write(0x7f, 0x55aa));
	assert.throws(() => chip.transfer(write(0x48, 0x4000)), IllegalAccess, "reserved bits");
	chip.transfer(write(0x33, 0x0287));
	chip.transfer(write(0x61, 7305));
	chip.transfer(write(0x62, 27_961));
	chip.transfer(write(0x00, 1));
	chip.advance(60_000);
	const read = (register: number) => {
		const bytes = Uint8Array.of(0x80, register, 0, 0);
		chip.transfer(bytes);
		return bytes[2]! * 256 + bytes[3]!;
	};
	assert.equal(read(0x81), Math.floor(2300 / 60 / 0.003125));
	assert.equal(read(0x78), Math.floor(2300 / 60 / 0.003125), "LastSPIData");
	assert.equal(read(0x81), 0, "cleared");
});
