import type { Random } from "../waveforms/random.js";
import { ApsCommand, type ApsFrame, ApsType, decodeApsHeader, encodeApsHeader } from "./aps-frame.js";
import type { Timer, VirtualClock } from "./clock.js";
import { Mac, type MacListener, MacStatus } from "./mac.js";
import {
	BROADCAST_ADDRESS,
	BROADCAST_PAN,
	extendedBytes,
	extendedText,
	type MacAddress,
	MacCommand,
	type MacFrame,
	MacType,
	NO_SHORT_ADDRESS,
} from "./mac-frame.js";
import type { Medium } from "./medium.js";
import {
	decodeNwkHeader,
	encodeNwkHeader,
	isNwkBroadcast,
	NwkBroadcast,
	NwkCommand,
	type NwkFrame,
} from "./nwk-frame.js";
import { DEFAULT_LINK_KEY, KeyIdentifier, keyedHash, secure, securedOf, unsecure } from "./security.js";
import { answerZdo, ZdoCluster } from "./zdo.js";

export const LogicalType = Object.freeze({ coordinator: 0, router: 1, endDevice: 2 } as const);

/** Device states as Z-Stack numbers them. */
export const NodeState = Object.freeze({
	hold: 0,
	initialised: 1,
	discovering: 2,
	joining: 3,
	rejoining: 4,
	unauthenticated: 5,
	endDevice: 6,
	router: 7,
	coordinatorStarting: 8,
	coordinator: 9,
	orphan: 10,
} as const);

/** Statuses that a data request ends with. */
export const DataStatus = Object.freeze({
	success: 0,
	tooLong: 0xa0,
	noAck: 0xb7,
	noBoundDevice: 0xb8,
	invalidRequest: 0xc2,
	noRoute: 0xcd,
} as const);

/** Payload of an unfragmented APS frame in a secured network: 127 - 11 (MAC) - 8 (NWK) - 18 (security) - 8 (APS). */
export const APS_PAYLOAD_MAX = 82;
/** Payload of one block of a fragmented message: the extended header takes two bytes. */
const BLOCK_BYTES = APS_PAYLOAD_MAX - 2;
/** Longest message: 16 blocks. */
export const APS_MESSAGE_MAX = 16 * BLOCK_BYTES;

const RADIUS = 30;
const APS_RETRIES = 3;
const APS_ACK_WAIT_MICROSECONDS = 1_600_000;
const SCAN_MICROSECONDS = 250_000;
/** macResponseWaitTime: 32 superframe durations of 960 symbols. */
const RESPONSE_WAIT_MICROSECONDS = 491_520;
const AUTHENTICATION_MICROSECONDS = 5_000_000;
const BROADCAST_JITTER_MICROSECONDS = 64_000;
const BROADCAST_MEMORY_MICROSECONDS = 9_000_000;
/** nwkPassiveAckTimeout and nwkMaxBroadcastRetries. */
const PASSIVE_ACK_MICROSECONDS = 500_000;
const BROADCAST_RETRIES = 2;
const DUPLICATE_MEMORY_MICROSECONDS = 8_000_000;
const REASSEMBLY_MICROSECONDS = 10_000_000;
/** Polls without an answer after which the parent is lost. */
const POLL_FAILURES_MAX = 3;
const KEEP_ALIVE_MICROSECONDS = 15_000_000;

export interface SimpleDescriptor {
	readonly endpoint: number;
	readonly profile: number;
	readonly device: number;
	readonly version: number;
	readonly inputClusters: readonly number[];
	readonly outputClusters: readonly number[];
}

export interface Binding {
	readonly sourceEndpoint: number;
	readonly cluster: number;
	/** An EUI-64, or a group address. */
	readonly target: string | number;
	readonly targetEndpoint: number;
}

export interface IncomingMessage {
	readonly source: number;
	readonly sourceEndpoint: number;
	readonly targetEndpoint: number;
	readonly group: number;
	readonly cluster: number;
	readonly profile: number;
	readonly wasBroadcast: boolean;
	readonly lqi: number;
	readonly counter: number;
	readonly payload: Uint8Array;
	readonly macSource: number;
}

export interface OutgoingMessage {
	/** Short or broadcast address; ignored where `group` is given. */
	readonly target: number;
	readonly group?: number;
	readonly targetEndpoint: number;
	readonly sourceEndpoint: number;
	readonly cluster: number;
	readonly profile: number;
	readonly ackRequest?: boolean;
	readonly radius?: number;
	readonly payload: Uint8Array;
}

/** What a co-processor (or a scripted device) hears of its node. */
export interface NodeListener {
	stateChanged(state: number): void;
	messageReceived(message: IncomingMessage): void;
	/** An answer to one of our ZDO requests, without its sequence number. */
	zdoResponse(source: number, cluster: number, payload: Uint8Array): void;
	deviceAnnounced(source: number, shortAddress: number, extendedAddress: string, capability: number): void;
	/** Trust centre: a device was given the network key. */
	deviceJoined(shortAddress: number, extendedAddress: string, parent: number): void;
	deviceLeft(shortAddress: number, extendedAddress: string, isRejoin: boolean): void;
	permitJoinChanged(seconds: number): void;
	/** A join ended: 0 joined, 2 no network, 7 no key. */
	joinEnded(status: number): void;
}

/** What outlives a power cut. */
export interface NodeMemory {
	panId: number;
	extendedPanId: string;
	channel: number;
	shortAddress: number;
	parent: number;
	parentExtended: string;
	networkKey: string;
	keySequence: number;
	frameCounter: number;
	trustCenter: string;
	children: [number, Child][];
	bindings: Binding[];
	addresses: [string, number][];
	groups: [number, number[]][];
	updateIdentifier: number;
}

interface Child {
	readonly extendedAddress: string;
	readonly isReceiverOnWhenIdle: boolean;
	readonly isRouter: boolean;
}

/** What a node asks of the air it is in. */
export interface Surroundings {
	readonly clock: VirtualClock;
	readonly medium: Medium;
	readonly random: Random;
	/** The next hop towards a short address of the node's network; undefined: no route. */
	nextHop(from: ZigbeeNode, target: number): number | undefined;
	/** Short addresses of the routing nodes of the same network that hear this one. */
	routingNeighbours(of: ZigbeeNode): number[];
	/** A short address that nobody in this network has. */
	freeAddress(panId: number): number;
}

interface PendingAck {
	readonly block: number;
	readonly source: number;
	settle(isAcknowledged: boolean): void;
}

interface Reassembly {
	readonly blocks: (Uint8Array | undefined)[];
	first: Omit<ApsFrame, "payload"> | undefined;
	count: number;
	timer: Timer;
}

interface Beacon {
	readonly panId: number;
	readonly source: number;
	readonly extendedPanId: string;
	readonly channel: number;
	readonly permitsJoin: boolean;
	readonly lqi: number;
	readonly depth: number;
}

/**
 * One Zigbee stack: association, network key transport (with install codes, and through a router by tunnel), secured
 * NWK frames with counters and replay check, unicast over several hops, broadcast, groups, APS acknowledgements,
 * duplicates, fragmentation, bindings and the device object (`zdo.ts`). It is what runs inside a virtual co-processor.
 *
 * Not as in life: routes come from the air's own knowledge instead of route discovery, short addresses never collide,
 * and the trust centre makes no link keys of its own after joining.
 */
export class ZigbeeNode implements MacListener {
	readonly extendedAddress: string;
	readonly mac: Mac;
	readonly clock: VirtualClock;
	logicalType: number = LogicalType.router;
	/** False: sleeps, and polls its parent. */
	isReceiverOnWhenIdle = true;
	pollMilliseconds = 1_000;
	manufacturerCode = 0x0007;
	state: number = NodeState.hold;
	readonly endpoints = new Map<number, SimpleDescriptor>();
	readonly groups = new Map<number, Set<number>>();
	bindings: Binding[] = [];
	readonly children = new Map<number, Child>();
	/** Short addresses by EUI-64. */
	readonly addresses = new Map<string, number>();

	panId = BROADCAST_PAN;
	extendedPanId = "0000000000000000";
	channel = 11;
	parent = NO_SHORT_ADDRESS;
	parentExtended = "0000000000000000";
	trustCenter = "0000000000000000";
	networkKey: Buffer | undefined;
	keySequence = 0;
	frameCounter = 0;
	updateIdentifier = 0;
	/** Joining device: what the network key is wrapped with. */
	linkKey: Buffer = DEFAULT_LINK_KEY;
	/** Trust centre: the link keys of announced install codes. */
	readonly installCodeKeys = new Map<string, Buffer>();
	/** Trust centre: only devices with an install code may join. */
	requiresInstallCode = false;
	permitJoinUntilMicroseconds = 0;
	/** Something that must outlive a power cut has changed. */
	memoryChanged: () => void = () => {};

	readonly #air: Surroundings;
	readonly #listener: NodeListener;
	#nwkSequence: number;
	#apsCounter: number;
	#zdoSequence = 0;
	#beacons: Beacon[] | undefined;
	#associating: ((status: number, shortAddress: number) => void) | undefined;
	#authenticating: (() => void) | undefined;
	#rejoining: ((shortAddress: number, status: number) => void) | undefined;
	#pollTimer: Timer | undefined;
	#pollFailures = 0;
	/** Grows when what is under way must not go on. */
	#generation = 0;
	readonly #broadcasts = new Map<string, { readonly atMicroseconds: number; readonly relays: Set<number> }>();
	readonly #counters = new Map<string, number>();
	readonly #duplicates = new Map<string, number>();
	readonly #acks = new Map<number, PendingAck>();
	readonly #reassemblies = new Map<string, Reassembly>();
	readonly #neighbours = new Map<number, string>();
	/** Security failures and replays, by kind. */
	readonly refused = { mic: 0, replay: 0, unsecured: 0, noKey: 0 };

	constructor(air: Surroundings, extendedAddress: string, listener: NodeListener) {
		this.#air = air;
		this.#listener = listener;
		this.clock = air.clock;
		this.extendedAddress = extendedAddress;
		this.mac = new Mac(air.medium, air.random, extendedAddress, this);
		this.mac.isSleepyChild = (address) => this.#isSleepyChild(address);
		this.#nwkSequence = air.random.integer(0, 255);
		this.#apsCounter = air.random.integer(0, 255);
	}

	get shortAddress(): number {
		return this.mac.shortAddress;
	}

	get isJoined(): boolean {
		return (
			this.state === NodeState.endDevice || this.state === NodeState.router || this.state === NodeState.coordinator
		);
	}

	get isRouting(): boolean {
		return this.state === NodeState.router || this.state === NodeState.coordinator;
	}

	/** Capability information of an association request and an announcement. */
	get capability(): number {
		const isRouter = this.logicalType !== LogicalType.endDevice;
		return 0x80 | (isRouter ? 0x02 : 0) | (this.isReceiverOnWhenIdle ? 0x0c : 0);
	}

	// ---- power and memory

	/** Loses everything but what `restore` brings back. */
	reset(): void {
		this.#generation++;
		this.mac.reset();
		this.#pollTimer?.cancel();
		for (const reassembly of this.#reassemblies.values()) reassembly.timer.cancel();
		this.#reassemblies.clear();
		this.#acks.clear();
		this.#broadcasts.clear();
		this.#duplicates.clear();
		this.#counters.clear();
		this.#beacons = undefined;
		this.#associating = undefined;
		this.#authenticating = undefined;
		this.#rejoining = undefined;
		this.permitJoinUntilMicroseconds = 0;
		this.endpoints.clear();
		this.state = NodeState.hold;
	}

	/** Also forgets the network. */
	forgetNetwork(): void {
		this.networkKey = undefined;
		this.panId = BROADCAST_PAN;
		this.parent = NO_SHORT_ADDRESS;
		this.children.clear();
		this.bindings = [];
		this.addresses.clear();
		this.groups.clear();
		this.mac.panId = BROADCAST_PAN;
		this.mac.shortAddress = NO_SHORT_ADDRESS;
		this.memoryChanged();
	}

	memory(): NodeMemory | undefined {
		if (!this.networkKey || this.shortAddress === NO_SHORT_ADDRESS) return undefined;
		return {
			panId: this.panId,
			extendedPanId: this.extendedPanId,
			channel: this.channel,
			shortAddress: this.shortAddress,
			parent: this.parent,
			parentExtended: this.parentExtended,
			networkKey: this.networkKey.toString("hex"),
			keySequence: this.keySequence,
			frameCounter: this.frameCounter,
			trustCenter: this.trustCenter,
			children: [...this.children],
			bindings: this.bindings,
			addresses: [...this.addresses],
			groups: [...this.groups].map(([group, endpoints]) => [group, [...endpoints]]),
			updateIdentifier: this.updateIdentifier,
		};
	}

	/** Takes up the network where it was left. Counters go on above all that may have been used. */
	restore(memory: NodeMemory): void {
		this.panId = memory.panId;
		this.extendedPanId = memory.extendedPanId;
		this.channel = memory.channel;
		this.parent = memory.parent;
		this.parentExtended = memory.parentExtended;
		this.networkKey = Buffer.from(memory.networkKey, "hex");
		this.keySequence = memory.keySequence;
		this.frameCounter = Math.max(this.frameCounter, memory.frameCounter + 1_024);
		this.trustCenter = memory.trustCenter;
		this.updateIdentifier = memory.updateIdentifier;
		this.bindings = [...memory.bindings];
		this.children.clear();
		for (const [address, child] of memory.children) this.children.set(address, child);
		this.addresses.clear();
		for (const [extended, address] of memory.addresses) this.addresses.set(extended, address);
		this.groups.clear();
		for (const [group, endpoints] of memory.groups) this.groups.set(group, new Set(endpoints));
		this.#tune(memory.panId, memory.shortAddress, memory.channel);
		if (this.logicalType === LogicalType.coordinator) this.#enter(NodeState.coordinator);
		else if (this.logicalType === LogicalType.router) this.#enter(NodeState.router);
		else this.rejoin(() => {});
	}

	#tune(panId: number, shortAddress: number, channel: number): void {
		this.mac.panId = panId;
		this.mac.shortAddress = shortAddress;
		this.mac.radio.channel = channel;
		this.mac.isReceiverOnWhenIdle = this.logicalType !== LogicalType.endDevice || this.isReceiverOnWhenIdle;
		this.mac.refresh();
	}

	#enter(state: number): void {
		this.state = state;
		if (state === NodeState.endDevice) this.#startPolling();
		else this.#pollTimer?.cancel();
		this.memoryChanged();
		this.#listener.stateChanged(state);
	}

	// ---- forming and joining

	/** Starts a network as its coordinator and trust centre. */
	form(panId: number, extendedPanId: string, channel: number, networkKey: Uint8Array): void {
		this.logicalType = LogicalType.coordinator;
		this.panId = panId;
		this.extendedPanId = extendedPanId;
		this.channel = channel;
		this.networkKey = Buffer.from(networkKey);
		this.keySequence = 0;
		this.trustCenter = this.extendedAddress;
		this.addresses.set(this.extendedAddress, 0);
		this.state = NodeState.coordinatorStarting;
		this.#listener.stateChanged(this.state);
		const generation = this.#generation;
		this.clock.after(SCAN_MICROSECONDS, () => {
			if (generation !== this.#generation) return;
			this.#tune(panId, 0, channel);
			this.#enter(NodeState.coordinator);
		});
	}

	get permitsJoin(): boolean {
		return this.isRouting && this.clock.nowMicroseconds < this.permitJoinUntilMicroseconds;
	}

	/** @param seconds 0 closes, 255 stays open */
	permitJoin(seconds: number): void {
		this.permitJoinUntilMicroseconds =
			seconds === 255 ? Number.POSITIVE_INFINITY : this.clock.nowMicroseconds + seconds * 1_000_000;
		this.#listener.permitJoinChanged(seconds);
	}

	/** Looks for an open network on these channels (bit mask) and joins it; `joinEnded` tells the outcome. */
	join(channelMask: number, wantedExtendedPanId?: string): void {
		const generation = ++this.#generation;
		this.state = NodeState.discovering;
		this.#listener.stateChanged(this.state);
		this.#scan(channelMask, (beacons) => {
			if (generation !== this.#generation) return;
			const best = beacons
				.filter((beacon) => beacon.permitsJoin)
				.filter((beacon) => wantedExtendedPanId === undefined || beacon.extendedPanId === wantedExtendedPanId)
				.sort((a, b) => b.lqi - a.lqi || a.depth - b.depth)[0];
			if (!best) this.#joinFailed(2);
			else this.#associate(best, generation);
		});
	}

	#joinFailed(status: number): void {
		this.#generation++;
		this.mac.reset();
		this.networkKey = undefined;
		this.#enter(NodeState.initialised);
		this.#listener.joinEnded(status);
	}

	#scan(channelMask: number, done: (beacons: Beacon[]) => void): void {
		const channels: number[] = [];
		for (let channel = 11; channel <= 26; channel++) if (channelMask & (1 << channel)) channels.push(channel);
		const found: Beacon[] = [];
		this.#beacons = found;
		const generation = this.#generation;
		const step = (at: number): void => {
			if (generation !== this.#generation) return;
			if (at === channels.length) {
				this.#beacons = undefined;
				done(found);
				return;
			}
			this.mac.radio.channel = channels[at]!;
			this.mac.listenFor(SCAN_MICROSECONDS);
			this.mac.sendFrame({
				type: MacType.command,
				panId: BROADCAST_PAN,
				target: BROADCAST_ADDRESS,
				payload: Uint8Array.of(MacCommand.beaconRequest),
			});
			this.clock.after(SCAN_MICROSECONDS, () => step(at + 1));
		};
		step(0);
	}

	#associate(beacon: Beacon, generation: number): void {
		this.state = NodeState.joining;
		this.#listener.stateChanged(this.state);
		this.panId = beacon.panId;
		this.extendedPanId = beacon.extendedPanId;
		this.channel = beacon.channel;
		this.parent = beacon.source;
		this.networkKey = undefined;
		this.#tune(beacon.panId, NO_SHORT_ADDRESS, beacon.channel);
		this.#associating = (status, shortAddress) => {
			this.#associating = undefined;
			if (status !== 0) {
				this.#joinFailed(2);
				return;
			}
			this.mac.shortAddress = shortAddress;
			this.state = NodeState.unauthenticated;
			this.#listener.stateChanged(this.state);
			this.#awaitKey(generation);
		};
		this.mac.sendFrame(
			{
				type: MacType.command,
				ackRequest: true,
				panId: beacon.panId,
				sourcePanId: BROADCAST_PAN,
				target: beacon.source,
				source: this.extendedAddress,
				payload: Uint8Array.of(MacCommand.associationRequest, this.capability),
			},
			(status) => {
				if (generation !== this.#generation) return;
				if (status !== MacStatus.success) {
					this.#joinFailed(2);
					return;
				}
				this.clock.after(RESPONSE_WAIT_MICROSECONDS, () => {
					if (generation !== this.#generation || !this.#associating) return;
					this.mac.poll(beacon.source, () => {
						this.clock.after(RESPONSE_WAIT_MICROSECONDS, () => {
							if (generation === this.#generation && this.#associating) this.#joinFailed(2);
						});
					});
				});
			},
		);
	}

	/** Polls (a sleepy device) or listens until the network key comes. */
	#awaitKey(generation: number): void {
		const until = this.clock.nowMicroseconds + AUTHENTICATION_MICROSECONDS;
		this.#authenticating = () => {
			this.#authenticating = undefined;
			const isRouter = this.logicalType === LogicalType.router;
			this.#enter(isRouter ? NodeState.router : NodeState.endDevice);
			this.#announce();
			this.#listener.joinEnded(0);
		};
		const wait = (): void => {
			if (generation !== this.#generation || !this.#authenticating) return;
			if (this.clock.nowMicroseconds >= until) {
				this.#authenticating = undefined;
				this.#joinFailed(7);
				return;
			}
			if (!this.mac.isReceiverOnWhenIdle) this.mac.poll(this.parent, () => {});
			this.clock.after(250_000, wait);
		};
		wait();
	}

	#announce(): void {
		const payload = Buffer.alloc(11);
		payload.writeUInt16LE(this.shortAddress, 0);
		payload.set(extendedBytes(this.extendedAddress), 2);
		payload[10] = this.capability;
		this.sendZdo(NwkBroadcast.receiverOn, ZdoCluster.deviceAnnounce, payload);
	}

	/** Looks for a parent of the known network, with the known key. */
	rejoin(done: (isRejoined: boolean) => void): void {
		const generation = ++this.#generation;
		const shortAddress = this.shortAddress;
		const key = this.networkKey;
		if (!key) {
			done(false);
			return;
		}
		this.#pollTimer?.cancel();
		this.state = NodeState.rejoining;
		this.#listener.stateChanged(this.state);
		const failed = (): void => {
			this.#rejoining = undefined;
			this.#tune(this.panId, shortAddress, this.channel);
			this.#enter(NodeState.orphan);
			done(false);
		};
		this.mac.isReceiverOnWhenIdle = true;
		this.#scan(1 << this.channel, (beacons) => {
			if (generation !== this.#generation) return;
			const best = beacons
				.filter((beacon) => beacon.extendedPanId === this.extendedPanId)
				.sort((a, b) => b.lqi - a.lqi || a.depth - b.depth)[0];
			if (!best) {
				failed();
				return;
			}
			this.#tune(best.panId, shortAddress, best.channel);
			this.mac.isReceiverOnWhenIdle = true;
			this.mac.refresh();
			const oldParent = this.parent;
			this.parent = best.source;
			this.panId = best.panId;
			const timer = this.clock.after(2 * RESPONSE_WAIT_MICROSECONDS, () => {
				if (generation !== this.#generation) return;
				this.parent = oldParent;
				failed();
			});
			this.#rejoining = (given, status) => {
				this.#rejoining = undefined;
				timer.cancel();
				if (status !== 0) {
					failed();
					return;
				}
				this.#tune(this.panId, given, this.channel);
				this.#enter(this.logicalType === LogicalType.router ? NodeState.router : NodeState.endDevice);
				this.#announce();
				done(true);
			};
			this.#sendOneHop(best.source, {
				isCommand: true,
				isSecured: true,
				target: best.source,
				source: shortAddress,
				radius: 1,
				sequence: this.#nextNwkSequence(),
				sourceExtended: this.extendedAddress,
				isFromEndDevice: this.logicalType === LogicalType.endDevice,
				payload: Uint8Array.of(NwkCommand.rejoinRequest, this.capability),
			});
			// A sleepy device has to ask for the answer.
			const poll = (): void => {
				if (generation !== this.#generation || !this.#rejoining) return;
				if (!this.isReceiverOnWhenIdle) this.mac.poll(best.source, () => {});
				this.clock.after(100_000, poll);
			};
			this.clock.after(100_000, poll);
		});
	}

	/** Leaves the network and says so to those who hear it. */
	leave(isRejoin = false): void {
		if (!this.networkKey) return;
		const options = isRejoin ? 0x20 : 0;
		const isEndDevice = this.logicalType === LogicalType.endDevice;
		const target = isEndDevice ? this.parent : NwkBroadcast.receiverOn;
		const finish = (): void => {
			this.#generation++;
			this.mac.reset();
			this.#pollTimer?.cancel();
			this.forgetNetwork();
			this.#listener.deviceLeft(NO_SHORT_ADDRESS, this.extendedAddress, isRejoin);
			this.#enter(NodeState.initialised);
		};
		this.#sendNwk(
			{
				isCommand: true,
				isSecured: true,
				target,
				source: this.shortAddress,
				radius: 1,
				sequence: this.#nextNwkSequence(),
				sourceExtended: this.extendedAddress,
				payload: Uint8Array.of(NwkCommand.leave, options),
			},
			finish,
		);
	}

	// ---- polling

	#startPolling(): void {
		this.#pollTimer?.cancel();
		this.#pollFailures = 0;
		const generation = this.#generation;
		const isSleepy = !this.mac.isReceiverOnWhenIdle;
		const interval = isSleepy ? this.pollMilliseconds * 1_000 : KEEP_ALIVE_MICROSECONDS;
		const poll = (): void => {
			if (generation !== this.#generation || this.state !== NodeState.endDevice) return;
			this.mac.poll(this.parent, (status) => {
				if (generation !== this.#generation || this.state !== NodeState.endDevice) return;
				if (status === MacStatus.success || status === MacStatus.noData) {
					this.#pollFailures = 0;
					// What came may be followed by more: ask again at once.
					const wait = status === MacStatus.success && isSleepy ? 20_000 : interval;
					this.#pollTimer = this.clock.after(wait, poll);
				} else if (++this.#pollFailures >= POLL_FAILURES_MAX) this.#enter(NodeState.orphan);
				else this.#pollTimer = this.clock.after(Math.min(interval, 1_000_000), poll);
			});
		};
		this.#pollTimer = this.clock.after(interval, poll);
	}

	#isSleepyChild(address: MacAddress): boolean {
		if (typeof address === "string") return true; // only association responses go there, and the child polls
		const child = this.children.get(address);
		return child !== undefined && !child.isReceiverOnWhenIdle;
	}

	// ---- MAC events

	macBeacon(frame: MacFrame, lqi: number): void {
		const { payload } = frame;
		if (!this.#beacons || typeof frame.source !== "number" || frame.sourcePanId === undefined) return;
		// Superframe (2), GTS (1), pending addresses (1), then the Zigbee payload.
		if (payload.length < 19 || payload[4] !== 0) return;
		this.#beacons.push({
			panId: frame.sourcePanId,
			source: frame.source,
			extendedPanId: extendedText(payload, 7),
			channel: this.mac.radio.channel,
			permitsJoin: (payload[1]! & 0x80) !== 0,
			lqi,
			depth: (payload[6]! >> 3) & 15,
		});
	}

	macCommand(command: number, frame: MacFrame, _lqi: number): void {
		switch (command) {
			case MacCommand.beaconRequest:
				if (this.isRouting) this.#sendBeacon();
				return;
			case MacCommand.associationRequest:
				this.#associationRequested(frame);
				return;
			case MacCommand.associationResponse:
				if (this.#associating && frame.payload.length >= 4)
					this.#associating(frame.payload[3]!, frame.payload[1]! | (frame.payload[2]! << 8));
				return;
			default:
		}
	}

	#sendBeacon(): void {
		const depth = this.logicalType === LogicalType.coordinator ? 0 : 1;
		const superframe =
			0x0fff | (this.logicalType === LogicalType.coordinator ? 0x4000 : 0) | (this.permitsJoin ? 0x8000 : 0);
		this.clock.after(this.#air.random.unit() * 20_000, () =>
			this.mac.sendFrame({
				type: MacType.beacon,
				sourcePanId: this.panId,
				source: this.shortAddress,
				payload: Uint8Array.of(
					superframe & 0xff,
					superframe >> 8,
					0,
					0,
					0,
					0x22,
					0x84 | (depth << 3),
					...extendedBytes(this.extendedPanId),
					0xff,
					0xff,
					0xff,
					this.updateIdentifier,
				),
			}),
		);
	}

	#associationRequested(frame: MacFrame): void {
		const source = frame.source;
		if (typeof source !== "string" || frame.payload.length < 2 || !this.permitsJoin) return;
		const capability = frame.payload[1]!;
		const shortAddress = this.addresses.get(source) ?? this.#air.freeAddress(this.panId);
		this.#adopt(shortAddress, source, capability);
		this.mac.sendFrame(
			{
				type: MacType.command,
				ackRequest: true,
				panId: this.panId,
				target: source,
				source: this.extendedAddress,
				payload: Uint8Array.of(MacCommand.associationResponse, shortAddress & 0xff, shortAddress >> 8, 0),
			},
			(status) => {
				if (status !== MacStatus.success) {
					this.children.delete(shortAddress);
					return;
				}
				if (this.logicalType === LogicalType.coordinator) this.#authorise(source, shortAddress, 0);
				else this.#sendUpdateDevice(source, shortAddress, 1);
			},
		);
	}

	#adopt(shortAddress: number, extendedAddress: string, capability: number): void {
		this.children.set(shortAddress, {
			extendedAddress,
			isReceiverOnWhenIdle: (capability & 0x08) !== 0,
			isRouter: (capability & 0x02) !== 0,
		});
		this.addresses.set(extendedAddress, shortAddress);
		this.memoryChanged();
	}

	/** Trust centre: the network key for a device that a parent took in. */
	#authorise(extendedAddress: string, shortAddress: number, parent: number): void {
		const installKey = this.installCodeKeys.get(extendedAddress);
		if (!installKey && this.requiresInstallCode) return;
		this.addresses.set(extendedAddress, shortAddress);
		const payload = Buffer.concat([
			Uint8Array.of(ApsCommand.transportKey, 1),
			this.networkKey!,
			Uint8Array.of(this.keySequence),
			extendedBytes(extendedAddress),
			extendedBytes(this.extendedAddress),
		]);
		const header = encodeApsHeader({ type: ApsType.command, isSecured: true, counter: this.#nextApsCounter() });
		const frame = secure(header, payload, keyedHash(installKey ?? DEFAULT_LINK_KEY, 0), {
			keyIdentifier: KeyIdentifier.keyTransport,
			frameCounter: this.#nextFrameCounter(),
			source: this.extendedAddress,
		});
		if (parent === this.shortAddress) {
			this.#sendUnsecured(shortAddress, frame);
		} else {
			const tunnel = Buffer.concat([Uint8Array.of(ApsCommand.tunnel), extendedBytes(extendedAddress), frame]);
			this.#sendApsCommand(parent, tunnel);
		}
		this.#listener.deviceJoined(shortAddress, extendedAddress, parent);
	}

	/** An APS frame to a child that has no network key yet. */
	#sendUnsecured(child: number, aps: Uint8Array): void {
		this.#sendOneHop(child, {
			isCommand: false,
			isSecured: false,
			target: child,
			source: this.shortAddress,
			radius: 1,
			sequence: this.#nextNwkSequence(),
			payload: aps,
		});
	}

	#sendUpdateDevice(extendedAddress: string, shortAddress: number, status: number): void {
		this.#sendApsCommand(
			0,
			Buffer.concat([
				Uint8Array.of(ApsCommand.updateDevice),
				extendedBytes(extendedAddress),
				Uint8Array.of(shortAddress & 0xff, shortAddress >> 8, status),
			]),
		);
	}

	#sendApsCommand(target: number, payload: Uint8Array): void {
		const header = encodeApsHeader({ type: ApsType.command, counter: this.#nextApsCounter() });
		this.#sendNwk(
			{
				isCommand: false,
				isSecured: true,
				target,
				source: this.shortAddress,
				radius: RADIUS,
				sequence: this.#nextNwkSequence(),
				payload: Buffer.concat([header, payload]),
			},
			() => {},
		);
	}

	macData(source: MacAddress, _target: MacAddress, payload: Uint8Array, lqi: number): void {
		const decoded = decodeNwkHeader(payload);
		if (!decoded || typeof source !== "number") return;
		const { header, byteLength } = decoded;
		let body: Uint8Array;
		if (header.isSecured) {
			const opened = this.#unsecureNwk(payload, byteLength, source);
			if (!opened) return;
			body = opened;
		} else {
			// Only the key itself comes in clear, and only while it is waited for.
			if (!this.#authenticating || source !== this.parent) {
				this.refused.unsecured++;
				return;
			}
			body = payload.subarray(byteLength);
		}
		const frame: NwkFrame = { ...header, payload: body };
		if (isNwkBroadcast(header.target)) {
			this.#broadcastReceived(frame, source, lqi);
		} else if (header.target === this.shortAddress) this.#deliver(frame, source, lqi);
		else if (this.isRouting && header.radius > 1) {
			frame.radius--;
			this.#route(frame, () => {});
		}
	}

	#unsecureNwk(bytes: Uint8Array, headerLength: number, macSource: number): Buffer | undefined {
		const how = securedOf(bytes, headerLength);
		if (!this.networkKey || !how || how.keyIdentifier !== KeyIdentifier.network) {
			this.refused.noKey++;
			return undefined;
		}
		const body = unsecure(bytes, headerLength, this.networkKey, how);
		if (!body) {
			this.refused.mic++;
			return undefined;
		}
		if (how.frameCounter <= (this.#counters.get(how.source) ?? -1)) {
			this.refused.replay++;
			return undefined;
		}
		this.#counters.set(how.source, how.frameCounter);
		this.#neighbours.set(macSource, how.source);
		return body;
	}

	#broadcastReceived(frame: NwkFrame, macSource: number, lqi: number): void {
		this.#broadcasts.get(`${frame.source}.${frame.sequence}`)?.relays.add(macSource);
		if (frame.source === this.shortAddress) return;
		if (!this.#remembersBroadcast(frame)) return;
		this.#broadcasts.get(`${frame.source}.${frame.sequence}`)?.relays.add(macSource);
		const isForUs =
			frame.target === NwkBroadcast.all ||
			(frame.target === NwkBroadcast.receiverOn && this.mac.isReceiverOnWhenIdle) ||
			(frame.target === NwkBroadcast.routers && this.isRouting);
		if (isForUs) this.#deliver(frame, macSource, lqi);
		if (!this.isRouting || frame.radius <= 1) return;
		frame.radius--;
		this.clock.after(this.#air.random.unit() * BROADCAST_JITTER_MICROSECONDS, () => this.#sendBroadcast(frame));
	}

	/** @returns false when this broadcast has been seen */
	#remembersBroadcast(frame: NwkFrame): boolean {
		const key = `${frame.source}.${frame.sequence}`;
		const now = this.clock.nowMicroseconds;
		const seen = this.#broadcasts.get(key);
		if (seen && now - seen.atMicroseconds < BROADCAST_MEMORY_MICROSECONDS) return false;
		if (this.#broadcasts.size > 64)
			for (const [old, { atMicroseconds }] of this.#broadcasts)
				if (now - atMicroseconds >= BROADCAST_MEMORY_MICROSECONDS) this.#broadcasts.delete(old);
		this.#broadcasts.set(key, { atMicroseconds: now, relays: new Set() });
		return true;
	}

	#deliver(frame: NwkFrame, macSource: number, lqi: number): void {
		if (frame.isCommand) this.#commandReceived(frame, macSource);
		else this.#apsReceived(frame, macSource, lqi);
	}

	#commandReceived(frame: NwkFrame, macSource: number): void {
		const { payload, sourceExtended } = frame;
		switch (payload[0]) {
			case NwkCommand.rejoinRequest: {
				if (!this.isRouting || sourceExtended === undefined || payload.length < 2) return;
				this.#adopt(frame.source, sourceExtended, payload[1]!);
				this.#sendOneHop(macSource, {
					isCommand: true,
					isSecured: true,
					target: frame.source,
					source: this.shortAddress,
					radius: 1,
					sequence: this.#nextNwkSequence(),
					targetExtended: sourceExtended,
					sourceExtended: this.extendedAddress,
					payload: Uint8Array.of(NwkCommand.rejoinResponse, frame.source & 0xff, frame.source >> 8, 0),
				});
				return;
			}
			case NwkCommand.rejoinResponse:
				if (payload.length >= 4) {
					if (sourceExtended !== undefined) this.parentExtended = sourceExtended;
					this.#rejoining?.(payload[1]! | (payload[2]! << 8), payload[3]!);
				}
				return;
			case NwkCommand.leave: {
				if (payload.length < 2) return;
				const options = payload[1]!;
				if (options & 0x40) {
					// A request to leave: only from parent or trust centre.
					if (frame.source === this.parent || frame.source === 0) this.leave((options & 0x20) !== 0);
					return;
				}
				this.#left(frame.source, (options & 0x20) !== 0);
				return;
			}
			default:
		}
	}

	/** A neighbour said that it leaves. */
	#left(shortAddress: number, isRejoin: boolean): void {
		const child = this.children.get(shortAddress);
		const extended = child?.extendedAddress ?? [...this.addresses].find(([, address]) => address === shortAddress)?.[0];
		if (child && !isRejoin) this.children.delete(shortAddress);
		if (extended === undefined) return;
		if (this.logicalType === LogicalType.coordinator) this.#listener.deviceLeft(shortAddress, extended, isRejoin);
		else if (child) this.#sendUpdateDevice(extended, shortAddress, 2);
		this.memoryChanged();
	}

	// ---- NWK out

	#nextNwkSequence(): number {
		this.#nwkSequence = (this.#nwkSequence + 1) & 0xff;
		return this.#nwkSequence;
	}

	#nextFrameCounter(): number {
		if ((this.frameCounter & 0x3ff) === 0) this.memoryChanged();
		return this.frameCounter++;
	}

	#encode(frame: NwkFrame): Uint8Array {
		const header = encodeNwkHeader(frame);
		if (!frame.isSecured) return Buffer.concat([header, frame.payload]);
		return secure(header, frame.payload, this.networkKey!, {
			keyIdentifier: KeyIdentifier.network,
			frameCounter: this.#nextFrameCounter(),
			source: this.extendedAddress,
			keySequence: this.keySequence,
		});
	}

	#sendOneHop(next: number, frame: NwkFrame, done: (status: number) => void = () => {}): void {
		if (frame.isSecured && !this.networkKey) {
			done(DataStatus.invalidRequest);
			return;
		}
		this.mac.sendData(next, this.#encode(frame), done);
	}

	#sendNwk(frame: NwkFrame, done: (status: number) => void): void {
		if (!this.networkKey) {
			done(DataStatus.invalidRequest);
			return;
		}
		if (isNwkBroadcast(frame.target)) {
			this.#remembersBroadcast(frame);
			this.#sendBroadcast(frame, done);
		} else this.#route(frame, done);
	}

	#route(frame: NwkFrame, done: (status: number) => void): void {
		if (this.logicalType === LogicalType.endDevice) {
			this.#sendOneHop(this.parent, { ...frame, isFromEndDevice: true }, done);
			return;
		}
		const next = this.children.has(frame.target) ? frame.target : this.#air.nextHop(this, frame.target);
		if (next === undefined) done(DataStatus.noRoute);
		else this.#sendOneHop(next, frame, done);
	}

	/** Sends, and again until every routing neighbour was heard to pass it on (passive acknowledgement), at most thrice. */
	#sendBroadcast(frame: NwkFrame, done: (status: number) => void = () => {}, retries = BROADCAST_RETRIES): void {
		if (!this.networkKey) return;
		if (this.logicalType === LogicalType.endDevice) {
			// An end device hands its broadcast to its parent, by unicast at MAC level.
			this.mac.sendData(this.parent, this.#encode({ ...frame, isFromEndDevice: true }), done);
			return;
		}
		this.mac.sendData(BROADCAST_ADDRESS, this.#encode(frame), done);
		if (retries > 0 && frame.radius > 1) {
			const generation = this.#generation;
			this.clock.after(PASSIVE_ACK_MICROSECONDS, () => {
				if (generation !== this.#generation) return;
				const relays = this.#broadcasts.get(`${frame.source}.${frame.sequence}`)?.relays;
				if (!relays || this.#air.routingNeighbours(this).every((address) => relays.has(address))) return;
				this.#sendBroadcast(frame, () => {}, retries - 1);
			});
		}
		if (frame.target !== NwkBroadcast.all || retries < BROADCAST_RETRIES) return;
		for (const [address, child] of this.children)
			if (!child.isReceiverOnWhenIdle && address !== frame.source)
				this.mac.sendData(address, this.#encode(frame), () => {});
	}

	// ---- APS

	#nextApsCounter(): number {
		this.#apsCounter = (this.#apsCounter + 1) & 0xff;
		return this.#apsCounter;
	}

	/** Sends a message; `done` gets a `DataStatus` or `MacStatus`. */
	send(message: OutgoingMessage, done: (status: number) => void): void {
		if (!this.networkKey || !this.isJoined) {
			done(DataStatus.invalidRequest);
			return;
		}
		const counter = this.#nextApsCounter();
		const isBroadcast = message.group !== undefined || isNwkBroadcast(message.target);
		if (message.target === this.shortAddress && message.group === undefined) {
			this.#deliverMessage(
				this.shortAddress,
				{ ...message, type: ApsType.data, counter, isBroadcast: false },
				message.payload,
				this.shortAddress,
				255,
			);
			done(DataStatus.success);
			return;
		}
		if (message.payload.length > APS_PAYLOAD_MAX) {
			if (isBroadcast || message.payload.length > APS_MESSAGE_MAX) done(DataStatus.tooLong);
			else this.#sendFragments(message, counter, done);
			return;
		}
		if (message.ackRequest && !isBroadcast) {
			this.#sendAcknowledged(message, { counter }, message.payload, APS_RETRIES, done);
			return;
		}
		const target = message.group === undefined ? message.target : NwkBroadcast.receiverOn;
		this.#sendApsFrame(target, message, { counter, isBroadcast }, message.payload, done);
		// A member of the group at the sender itself hears it too.
		if (message.group !== undefined && this.groups.has(message.group))
			this.#deliverMessage(
				this.shortAddress,
				{ ...message, type: ApsType.data, counter, isBroadcast: true },
				message.payload,
				this.shortAddress,
				255,
			);
	}

	#sendApsFrame(
		target: number,
		message: OutgoingMessage,
		extra: Partial<ApsFrame> & { counter: number },
		payload: Uint8Array,
		done: (status: number) => void,
	): void {
		const header = encodeApsHeader({
			type: ApsType.data,
			...(message.group === undefined ? { targetEndpoint: message.targetEndpoint } : { group: message.group }),
			cluster: message.cluster,
			profile: message.profile,
			sourceEndpoint: message.sourceEndpoint,
			...extra,
		});
		this.#sendNwk(
			{
				isCommand: false,
				isSecured: true,
				target,
				source: this.shortAddress,
				radius: message.radius || RADIUS,
				sequence: this.#nextNwkSequence(),
				payload: Buffer.concat([header, payload]),
			},
			done,
		);
	}

	/** One frame (or block) until its APS acknowledgement comes. */
	#sendAcknowledged(
		message: OutgoingMessage,
		extra: Partial<ApsFrame> & { counter: number },
		payload: Uint8Array,
		retries: number,
		done: (status: number) => void,
	): void {
		const generation = this.#generation;
		let isSettled = false;
		let lastStatus: number = DataStatus.noAck;
		const { counter } = extra;
		const timer = this.clock.after(APS_ACK_WAIT_MICROSECONDS, () => this.#acks.get(counter)?.settle(false));
		this.#acks.set(counter, {
			block: extra.fragment === undefined ? -1 : extra.fragment === 1 ? 0 : (extra.block ?? 0),
			source: message.target,
			settle: (isAcknowledged) => {
				if (isSettled) return;
				isSettled = true;
				timer.cancel();
				this.#acks.delete(counter);
				if (generation !== this.#generation) return;
				if (isAcknowledged) done(DataStatus.success);
				else if (retries > 0) this.#sendAcknowledged(message, extra, payload, retries - 1, done);
				else done(lastStatus);
			},
		});
		this.#sendApsFrame(message.target, message, { ...extra, ackRequest: true }, payload, (status) => {
			if (status === MacStatus.success) return;
			lastStatus = status;
			// No route or no answer at the first hop: no need to wait for the end of the way. A little pause all the same.
			if (status === DataStatus.noRoute || status === DataStatus.invalidRequest) {
				retries = 0;
				this.#acks.get(counter)?.settle(false);
			} else this.clock.after(100_000, () => this.#acks.get(counter)?.settle(false));
		});
	}

	/** Blocks one after the other, a window of one. */
	#sendFragments(message: OutgoingMessage, counter: number, done: (status: number) => void): void {
		const count = Math.ceil(message.payload.length / BLOCK_BYTES);
		const next = (block: number): void => {
			if (block === count) {
				done(DataStatus.success);
				return;
			}
			this.#sendAcknowledged(
				message,
				{ counter, fragment: block === 0 ? 1 : 2, block: block === 0 ? count : block },
				message.payload.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES),
				APS_RETRIES,
				(status) => {
					if (status === DataStatus.success) next(block + 1);
					else done(status);
				},
			);
		};
		next(0);
	}

	#apsReceived(frame: NwkFrame, macSource: number, lqi: number): void {
		const decoded = decodeApsHeader(frame.payload);
		if (!decoded) return;
		const { header, byteLength } = decoded;
		const payload = frame.payload.subarray(byteLength);
		switch (header.type) {
			case ApsType.acknowledgement: {
				const pending = this.#acks.get(header.counter);
				if (!pending || pending.source !== frame.source) return;
				if (header.fragment === undefined ? pending.block >= 0 : pending.block !== header.block) return;
				pending.settle(true);
				return;
			}
			case ApsType.command:
				this.#apsCommandReceived(frame, header, byteLength, payload);
				return;
			default:
		}
		if (this.#authenticating) return; // nothing is taken before the key
		const isUnicast = !isNwkBroadcast(frame.target);
		if (header.ackRequest && isUnicast) this.#sendApsAck(frame.source, header);
		const key = `${frame.source}.${header.counter}.${header.fragment ?? 0}.${header.block ?? 0}`;
		const now = this.clock.nowMicroseconds;
		const seen = this.#duplicates.get(key);
		if (seen !== undefined && now - seen < DUPLICATE_MEMORY_MICROSECONDS) return;
		if (this.#duplicates.size > 128)
			for (const [old, at] of this.#duplicates)
				if (now - at >= DUPLICATE_MEMORY_MICROSECONDS) this.#duplicates.delete(old);
		this.#duplicates.set(key, now);
		if (header.fragment === undefined) this.#deliverMessage(frame.source, header, payload, macSource, lqi);
		else this.#blockReceived(frame, header, payload, macSource, lqi);
	}

	#sendApsAck(target: number, header: Omit<ApsFrame, "payload">): void {
		const ack = encodeApsHeader({
			type: ApsType.acknowledgement,
			targetEndpoint: header.sourceEndpoint ?? 0,
			cluster: header.cluster ?? 0,
			profile: header.profile ?? 0,
			sourceEndpoint: header.targetEndpoint ?? 0,
			counter: header.counter,
			...(header.fragment === undefined
				? {}
				: { fragment: header.fragment, block: header.fragment === 1 ? 0 : (header.block ?? 0), ackBits: 1 }),
		});
		this.#sendNwk(
			{
				isCommand: false,
				isSecured: true,
				target,
				source: this.shortAddress,
				radius: RADIUS,
				sequence: this.#nextNwkSequence(),
				payload: ack,
			},
			() => {},
		);
	}

	#blockReceived(
		frame: NwkFrame,
		header: Omit<ApsFrame, "payload">,
		payload: Uint8Array,
		macSource: number,
		lqi: number,
	): void {
		const key = `${frame.source}.${header.counter}`;
		let reassembly = this.#reassemblies.get(key);
		if (!reassembly) {
			reassembly = {
				blocks: [],
				first: undefined,
				count: 0,
				timer: this.clock.after(REASSEMBLY_MICROSECONDS, () => this.#reassemblies.delete(key)),
			};
			this.#reassemblies.set(key, reassembly);
		}
		const block = header.fragment === 1 ? 0 : (header.block ?? 0);
		if (block > 15) return;
		if (header.fragment === 1) {
			reassembly.first = header;
			reassembly.count = header.block ?? 0;
		}
		reassembly.blocks[block] = Uint8Array.from(payload);
		if (reassembly.count === 0) return;
		for (let i = 0; i < reassembly.count; i++) if (!reassembly.blocks[i]) return;
		reassembly.timer.cancel();
		this.#reassemblies.delete(key);
		const whole = Buffer.concat(reassembly.blocks.slice(0, reassembly.count) as Uint8Array[]);
		this.#deliverMessage(frame.source, reassembly.first!, whole, macSource, lqi);
	}

	#apsCommandReceived(
		frame: NwkFrame,
		header: Omit<ApsFrame, "payload">,
		headerLength: number,
		payload: Uint8Array,
	): void {
		if (header.isSecured) {
			const how = securedOf(frame.payload, headerLength);
			if (!how || how.keyIdentifier !== KeyIdentifier.keyTransport || !this.#authenticating) return;
			const body = unsecure(frame.payload, headerLength, keyedHash(this.linkKey, 0), how);
			if (!body) {
				this.refused.mic++;
				return;
			}
			this.#keyReceived(body);
			return;
		}
		if (!frame.isSecured) return;
		switch (payload[0]) {
			case ApsCommand.updateDevice:
				if (this.logicalType !== LogicalType.coordinator || payload.length < 12) return;
				this.#updateDevice(frame.source, payload);
				return;
			case ApsCommand.tunnel: {
				if (payload.length < 10 || frame.source !== 0) return;
				const child = this.addresses.get(extendedText(payload, 1));
				if (child !== undefined && this.children.has(child)) this.#sendUnsecured(child, payload.subarray(9));
				return;
			}
			default:
		}
	}

	#updateDevice(parent: number, payload: Uint8Array): void {
		const extended = extendedText(payload, 1);
		const shortAddress = payload[9]! | (payload[10]! << 8);
		if (payload[11] === 1) this.#authorise(extended, shortAddress, parent);
		else if (payload[11] === 2) this.#listener.deviceLeft(shortAddress, extended, false);
	}

	#keyReceived(body: Uint8Array): void {
		if (body.length < 35 || body[0] !== ApsCommand.transportKey || body[1] !== 1) return;
		if (extendedText(body, 19) !== this.extendedAddress) return;
		this.networkKey = Buffer.from(body.subarray(2, 18));
		this.keySequence = body[18]!;
		this.trustCenter = extendedText(body, 27);
		this.addresses.set(this.trustCenter, 0);
		this.#counters.clear();
		this.#authenticating?.();
	}

	#deliverMessage(
		source: number,
		header: Partial<ApsFrame>,
		payload: Uint8Array,
		macSource: number,
		lqi: number,
	): void {
		const endpoint = header.targetEndpoint ?? 0xff;
		if (header.group === undefined && endpoint === 0) {
			this.#zdoReceived(source, header.cluster ?? 0, payload, header.isBroadcast ?? false);
			return;
		}
		const base = {
			source,
			sourceEndpoint: header.sourceEndpoint ?? 0,
			group: header.group ?? 0,
			cluster: header.cluster ?? 0,
			profile: header.profile ?? 0,
			wasBroadcast: header.isBroadcast ?? false,
			lqi,
			counter: header.counter ?? 0,
			payload: Uint8Array.from(payload),
			macSource,
		};
		for (const [number, descriptor] of this.endpoints) {
			if (header.group !== undefined) {
				if (!this.groups.get(header.group)?.has(number)) continue;
			} else if (endpoint !== 0xff && endpoint !== number) continue;
			if (descriptor.profile !== header.profile && header.profile !== 0xffff) continue;
			this.#listener.messageReceived({ ...base, targetEndpoint: number });
		}
	}

	// ---- device object

	/** Sends a ZDO request or announcement. */
	sendZdo(target: number, cluster: number, payload: Uint8Array, done: (status: number) => void = () => {}): number {
		const sequence = (this.#zdoSequence = (this.#zdoSequence + 1) & 0xff);
		this.send(
			{
				target,
				targetEndpoint: 0,
				sourceEndpoint: 0,
				cluster,
				profile: 0,
				payload: Buffer.concat([Uint8Array.of(sequence), payload]),
			},
			done,
		);
		return sequence;
	}

	#zdoReceived(source: number, cluster: number, payload: Uint8Array, wasBroadcast: boolean): void {
		if (payload.length < 1) return;
		if (cluster & 0x8000) {
			this.#learnFromZdo(cluster, payload.subarray(1));
			this.#listener.zdoResponse(source, cluster, payload.subarray(1));
			return;
		}
		if (cluster === ZdoCluster.deviceAnnounce) {
			if (payload.length < 12) return;
			const shortAddress = payload[1]! | (payload[2]! << 8);
			const extended = extendedText(payload, 3);
			if (extended === this.extendedAddress) return;
			this.addresses.set(extended, shortAddress);
			const child = this.children.get(shortAddress);
			// It announces itself through another parent: no child of ours any more.
			if (child && this.isRouting && this.#air.nextHop(this, shortAddress) !== shortAddress)
				this.children.delete(shortAddress);
			this.memoryChanged();
			this.#listener.deviceAnnounced(source, shortAddress, extended, payload[11]!);
			return;
		}
		const answer = answerZdo(this, cluster, payload.subarray(1), wasBroadcast);
		if (!answer) return;
		if (answer.payload)
			this.send(
				{
					target: source,
					targetEndpoint: 0,
					sourceEndpoint: 0,
					cluster: cluster | 0x8000,
					profile: 0,
					payload: Buffer.concat([Uint8Array.of(payload[0]!), answer.payload]),
				},
				() => answer.afterwards?.(),
			);
		else answer.afterwards?.();
	}

	#learnFromZdo(cluster: number, payload: Uint8Array): void {
		const isAddress = cluster === (ZdoCluster.nwkAddress | 0x8000) || cluster === (ZdoCluster.ieeeAddress | 0x8000);
		if (!isAddress || payload.length < 11 || payload[0] !== 0) return;
		this.addresses.set(extendedText(payload, 1), payload[9]! | (payload[10]! << 8));
	}

	/** Changes what is persisted through `memoryChanged`. */
	bind(binding: Binding): boolean {
		if (this.bindings.some((other) => isSameBinding(other, binding))) return true;
		if (this.bindings.length >= 16) return false;
		this.bindings.push(binding);
		this.memoryChanged();
		return true;
	}

	unbind(binding: Binding): boolean {
		const at = this.bindings.findIndex((other) => isSameBinding(other, binding));
		if (at < 0) return false;
		this.bindings.splice(at, 1);
		this.memoryChanged();
		return true;
	}
}

function isSameBinding(a: Binding, b: Binding): boolean {
	return (
		a.sourceEndpoint === b.sourceEndpoint &&
		a.cluster === b.cluster &&
		a.target === b.target &&
		a.targetEndpoint === b.targetEndpoint
	);
}
