import library from "mqtt-packet";

/**
 * What the firmware uses of the npm package `mqtt-packet`, typed without Node's types: its own declarations name
 * `Buffer` and streams, which the firmware does not have.
 */
export interface PacketLibrary {
	/** Makes a parser; it calls its handlers from inside `parse`. Without a limit of its own for what it holds. */
	parser(settings: { readonly protocolVersion: 4 | 5 }): PacketParser;
	/** Writes the pieces of one packet into the sink. Calls `destroy` for a packet that cannot be encoded. */
	writeToStream: {
		(packet: OutgoingPacket, sink: PacketSink, settings: { readonly protocolVersion: 4 | 5 }): boolean;
		/** True fills a table of 65,536 Buffers on first use; false makes each number as it is needed. */
		cacheNumbers: boolean;
	};
}

export interface PacketParser {
	on(event: "packet", handler: (packet: IncomingPacket) => void): void;
	on(event: "error", handler: (error: unknown) => void): void;
	/** @returns bytes it still holds back */
	parse(bytes: Uint8Array): number;
}

export interface PacketSink {
	write(piece: string | Uint8Array): boolean;
	destroy(error?: unknown): void;
}

export interface IncomingPacket {
	readonly cmd: string;
	readonly qos: number;
	readonly dup: boolean;
	readonly retain: boolean;
	readonly topic: string | null;
	/** A view into the bytes given to `parse`. */
	readonly payload: Uint8Array | null;
	readonly messageId?: number;
	readonly sessionPresent?: boolean;
	/** CONNACK of MQTT 3.1.1. */
	readonly returnCode?: number;
	/** MQTT 5. */
	readonly reasonCode?: number;
	readonly granted?: readonly number[];
	readonly properties?: {
		readonly receiveMaximum?: number;
		readonly maximumPacketSize?: number;
		readonly maximumQoS?: number;
		readonly retainAvailable?: boolean;
		readonly wildcardSubscriptionAvailable?: boolean;
		readonly sharedSubscriptionAvailable?: boolean;
		readonly serverKeepAlive?: number;
		readonly sessionExpiryInterval?: number;
	};
}

export type OutgoingPacket = Readonly<Record<string, unknown>> & { readonly cmd: string };

// The cast is deliberate: see PacketLibrary.
export const packetLibrary = library as unknown as PacketLibrary;

// Runs at build time under preload; the bundle's patched package has no cache to switch off.
packetLibrary.writeToStream.cacheNumbers = false;
