import { constants, openSync, statSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { isatty, ReadStream, WriteStream } from "node:tty";
import type { VirtualBoard } from "../board/virtual-board.js";
import type { World } from "../fleet/world.js";
import { UserError } from "../user-error.js";

/** The optical head, or whatever stands for it: bytes both ways, in pieces of any size, some of them noise. */
export interface OpticalLine {
	send(bytes: Uint8Array): void;
	/** One listener each; the last one counts. `bytes` is valid only during the call. */
	onReceived(listener: (bytes: Uint8Array) => void): void;
	/** @param listener gets one line of text that says why */
	onClosed(listener: (reason: string) => void): void;
	close(): void;
}

/** A socket, a serial port, any duplex stream of bytes. */
export function lineOfStream(stream: Duplex): OpticalLine {
	let closed: (reason: string) => void = () => {};
	stream.on("error", (error) => closed(error.message));
	stream.on("close", () => closed("the line was closed at the other end"));
	return {
		send: (bytes) => {
			stream.write(Buffer.from(bytes)); // a copy: the stream keeps it
		},
		onReceived: (listener) => {
			stream.removeAllListeners("data");
			stream.on("data", listener);
		},
		onClosed: (listener) => {
			closed = listener;
		},
		close: () => {
			closed = () => {};
			stream.destroy();
		},
	};
}

/** A pseudo terminal, or a serial port (its speed is set up already: `stty`). It is switched to raw bytes. */
function lineOfDevice(path: string): OpticalLine {
	let isCharacterDevice = false;
	try {
		isCharacterDevice = statSync(path).isCharacterDevice();
	} catch {
		throw new UserError(`there is no port ${path}; --port takes tcp:127.0.0.1:<port> or the path of a serial device`);
	}
	const flags = constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK;
	const file = isCharacterDevice ? openSync(path, flags) : -1;
	if (file < 0 || !isatty(file))
		throw new UserError(`${path} is no serial device; --port takes tcp:127.0.0.1:<port> or a device`);
	const reading = new ReadStream(file);
	reading.setRawMode(true);
	const writing = new WriteStream(openSync(path, flags));
	let closed: (reason: string) => void = () => {};
	reading.on("error", (error) => closed(error.message));
	writing.on("error", (error) => closed(error.message));
	reading.on("end", () => closed("the line was closed at the other end"));
	return {
		send: (bytes) => {
			writing.write(Buffer.from(bytes));
		},
		onReceived: (listener) => {
			reading.removeAllListeners("data");
			reading.on("data", listener);
		},
		onClosed: (listener) => {
			closed = listener;
		},
		close: () => {
			closed = () => {};
			reading.destroy();
			writing.destroy();
		},
	};
}

/**
 * Opens what `--port` names: `tcp:127.0.0.1:4059` (the optical port of a virtual board), or a serial device.
 * Only this machine is called: device files travel in clear.
 */
export async function openLine(port: string): Promise<OpticalLine> {
	const tcp = /^tcp:(127\.0\.0\.1|localhost|\[::1\]):(\d{1,5})$/.exec(port);
	if (!tcp) {
		if (port.startsWith("tcp:"))
			throw new UserError(`${port} is not on this machine; a device file travels in clear: tcp:127.0.0.1:<port>`);
		return lineOfDevice(port);
	}
	return new Promise((resolve, reject) => {
		const socket = connect({ host: tcp[1]!.replace(/[[\]]/g, ""), port: Number(tcp[2]) });
		socket.setNoDelay(true);
		socket.once("connect", () => {
			socket.removeAllListeners("error");
			resolve(lineOfStream(socket));
		});
		socket.once("error", () => reject(new UserError(`nothing listens at ${port}; is the board running?`)));
	});
}

/** The optical port of a meter of a virtual world. */
export function lineOfBoard(world: Pick<World, "opticalData">, board: VirtualBoard): OpticalLine {
	return {
		send: (bytes) => world.opticalData(board, bytes),
		onReceived: (listener) => {
			board.onOptical = listener;
		},
		onClosed: () => {},
		close: () => {
			board.onOptical = undefined;
		},
	};
}

/**
 * Lets one technician at a time reach a line through `tcp:127.0.0.1:<port>`.
 * @param port 0: any free one
 * @returns the port, and how to end it; the line itself stays open
 */
export async function serveLine(line: OpticalLine, port: number): Promise<{ port: number; close(): Promise<void> }> {
	let current: Socket | undefined;
	const server = createServer((socket) => {
		if (current) {
			socket.destroy(); // there is one optical port, and a head is on it
			return;
		}
		current = socket;
		socket.on("data", (bytes) => line.send(bytes));
		socket.on("error", () => socket.destroy());
		socket.on("close", () => {
			current = undefined;
		});
	});
	await new Promise<void>((resolve, reject) => {
		server.once("error", () => reject(new UserError(`port ${port} is taken; choose another one`)));
		server.listen(port, "127.0.0.1", resolve);
	});
	line.onReceived((bytes) => current?.write(Buffer.from(bytes)));
	return {
		port: (server.address() as { port: number }).port,
		close: () => {
			current?.destroy();
			return new Promise((resolve) => server.close(() => resolve()));
		},
	};
}
