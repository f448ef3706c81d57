import {
	AddressMode,
	Commissioning,
	CommissioningStatus,
	DeviceState,
	Mt,
	MtItem,
	MtStatus,
	STARTUP_CLEAR_ALL,
} from "../../src/zigbee/mt-commands.js";
import { encodeMtFrame, MT_FRAME_MAX, MtParser, MtType } from "../../src/zigbee/mt-frame.js";
import type { Air } from "./air.js";
import type { Timer } from "./clock.js";
import { extendedBytes, extendedText } from "./mac-frame.js";
import {
	APS_MESSAGE_MAX,
	DataStatus,
	type IncomingMessage,
	LogicalType,
	type NodeListener,
	type NodeMemory,
	NodeState,
	type OutgoingMessage,
	type ZigbeeNode,
} from "./node.js";
import { DEFAULT_LINK_KEY, installCodeKey } from "./security.js";
import { ZdoCluster } from "./zdo.js";

/** Microseconds for one byte at 115,200 baud. */
const UART_BYTE_MICROSECONDS = 87;
const BOOT_MICROSECONDS = 300_000;
/** Longest data of `afIncomingMessage`; longer messages wait to be fetched. */
const INLINE_BYTES_MAX = 223;
/** `afIncomingMessageExtended` whose data must be fetched are kept so long. */
const STORED_MICROSECONDS = 30_000_000;
/** What a real Z-Stack 3.x firmware of this family says of itself. */
const VERSION = Uint8Array.of(2, 1, 2, 7, 1, ...u32(20_221_226));

function u16(value: number): number[] {
	return [value & 0xff, (value >> 8) & 0xff];
}

function u32(value: number): number[] {
	return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff];
}

/** What the module keeps when it has no power. */
export interface ModuleImage {
	items: Record<string, string>;
	tables: Record<string, string>;
	network?: NodeMemory | undefined;
}

/** Faults to provoke. All are off at first. */
export interface ModuleFaults {
	/** Changes, drops (undefined) or multiplies what goes to the host. */
	toHost?: ((frame: Uint8Array) => Uint8Array | undefined) | undefined;
	/** Answers a data request at once with this status. */
	dataRequestStatus?: ((count: number) => number) | undefined;
	/** Replaces the status of a data confirm. */
	dataConfirmStatus?: ((status: number, count: number) => number) | undefined;
}

const ZDO_REQUESTS: Readonly<Record<number, number>> = {
	[Mt.zdoNodeDescriptorRequest]: ZdoCluster.nodeDescriptor,
	[Mt.zdoPowerDescriptorRequest]: ZdoCluster.powerDescriptor,
	[Mt.zdoSimpleDescriptorRequest]: ZdoCluster.simpleDescriptor,
	[Mt.zdoActiveEndpointsRequest]: ZdoCluster.activeEndpoints,
	[Mt.zdoMatchDescriptorRequest]: ZdoCluster.matchDescriptor,
	[Mt.zdoBindRequest]: ZdoCluster.bind,
	[Mt.zdoUnbindRequest]: ZdoCluster.unbind,
	[Mt.zdoManagementLqiRequest]: ZdoCluster.managementLqi,
	[Mt.zdoManagementRoutingRequest]: ZdoCluster.managementRouting,
	[Mt.zdoManagementBindRequest]: ZdoCluster.managementBind,
	[Mt.zdoManagementLeaveRequest]: ZdoCluster.managementLeave,
};

/**
 * A Zigbee co-processor with TI's ZNP firmware (Z-Stack 3.x.0), as a host sees it on its UART: frames in by `receive`,
 * frames out by `toHost`, at 115,200 baud of virtual time. Coordinator, router or end device, as its memory says. What
 * it does not know is answered with the RPC error and kept in `unknown`, so that a run can fail on it.
 */
export class ZnpModule implements NodeListener {
	readonly node: ZigbeeNode;
	readonly name: string;
	/** Called with each frame for the host. */
	toHost: (frame: Uint8Array) => void = () => {};
	/** The image has changed; for a file. */
	imageChanged: () => void = () => {};
	readonly faults: ModuleFaults = {};
	/** Commands that it was sent and lacks, as "SYS 0x0e". */
	readonly unknown: string[] = [];
	/** How often each command came, by `subsystem << 8 | command`. */
	readonly commandCounts = new Map<number, number>();
	image: ModuleImage;
	isPoweredOn = false;
	readonly #air: Air;
	readonly #parser = new MtParser();
	readonly #frame = new Uint8Array(MT_FRAME_MAX);
	#lineFreeMicroseconds = 0;
	#boot: Timer | undefined;
	#primaryChannels = 0x0000_0800;
	#stored: { timestamp: number; payload: Uint8Array }[] = [];
	#requestCount = 0;
	#confirmCount = 0;
	#isStarted = false;

	constructor(air: Air, extendedAddress: string, image?: ModuleImage) {
		this.#air = air;
		this.name = extendedAddress;
		this.image = image ?? { items: {}, tables: {} };
		this.node = air.addNode(extendedAddress, this);
		this.node.memoryChanged = () => {
			if (!this.isPoweredOn) return;
			this.image.network = this.node.memory();
			this.imageChanged();
		};
		this.powerOn();
	}

	// ---- power

	powerOn(): void {
		this.isPoweredOn = true;
		this.#reset(0);
	}

	powerOff(): void {
		this.image.network = this.node.memory();
		this.imageChanged();
		this.isPoweredOn = false;
		this.#boot?.cancel();
		this.node.mac.isPoweredOn = false;
		this.node.reset();
	}

	/** @param reason 0 power-up, 1 external, 2 watchdog */
	#reset(reason: number): void {
		this.image.network = this.node.memory() ?? this.image.network;
		this.node.reset();
		this.#parser.reset();
		this.#stored = [];
		this.#isStarted = false;
		this.node.mac.isPoweredOn = true;
		this.node.mac.refresh();
		this.node.linkKey = DEFAULT_LINK_KEY;
		const option = this.#item(MtItem.startupOption)?.[0] ?? 0;
		if (option & STARTUP_CLEAR_ALL) {
			if (option & 1) this.image.items = {};
			if (option & 2) {
				this.image.network = undefined;
				this.node.forgetNetwork();
				delete this.image.items[MtItem.networkInformation];
				delete this.image.items[MtItem.bdbNodeIsOnANetwork];
			}
			this.image.items[MtItem.startupOption] = "00";
			this.imageChanged();
		}
		// herdsman reads the layout of structures from this item's length: 21, unaligned.
		this.image.items[MtItem.networkKey] ??= "00".repeat(21);
		this.node.logicalType = this.#item(MtItem.logicalType)?.[0] ?? LogicalType.coordinator;
		this.#boot?.cancel();
		this.#boot = this.#air.clock.after(BOOT_MICROSECONDS, () => {
			this.#boot = undefined;
			this.#send(MtType.asynchronous, Mt.sysResetIndication, [reason, 2, 1, 2, 7, 1]);
		});
	}

	/** The module restarts by itself (watchdog, brown-out). */
	crash(): void {
		this.#reset(2);
	}

	// ---- line

	/** Bytes from the host. */
	receive(bytes: Uint8Array, byteLength = bytes.length): void {
		if (!this.isPoweredOn || this.#boot) return;
		this.#parser.feed(bytes, byteLength);
		while (this.#parser.next()) {
			const { cmd0, cmd1, dataLength } = this.#parser;
			const command = ((cmd0 & 0x1f) << 8) | cmd1;
			const data = Buffer.from(this.#parser.frame.subarray(4, 4 + dataLength));
			this.commandCounts.set(command, (this.commandCounts.get(command) ?? 0) + 1);
			try {
				this.#command(cmd0 >> 5, command, data);
			} catch (error) {
				if (!(error instanceof RangeError)) throw error;
				// Data shorter than the command needs.
				this.#send(MtType.synchronousResponse, Mt.rpcError, [3, cmd0, cmd1]);
			}
			if (this.#boot) return;
		}
	}

	#send(type: number, command: number, data: readonly number[] | Uint8Array): void {
		const bytes = Uint8Array.from(data);
		const length = encodeMtFrame((type << 5) | (command >> 8), command & 0xff, bytes, bytes.length, this.#frame);
		const sent = this.faults.toHost ? this.faults.toHost(this.#frame.slice(0, length)) : this.#frame.slice(0, length);
		if (!sent) return;
		const clock = this.#air.clock;
		const start = Math.max(clock.nowMicroseconds, this.#lineFreeMicroseconds);
		this.#lineFreeMicroseconds = start + sent.length * UART_BYTE_MICROSECONDS;
		clock.after(this.#lineFreeMicroseconds - clock.nowMicroseconds, () => {
			if (this.isPoweredOn) this.toHost(sent);
		});
	}

	#answer(command: number, ...data: (number | Uint8Array | readonly number[])[]): void {
		this.#send(
			MtType.synchronousResponse,
			command,
			data.flatMap((part) => (typeof part === "number" ? [part] : [...part])),
		);
	}

	#item(id: number): Buffer | undefined {
		const hex = this.image.items[id];
		return hex === undefined ? undefined : Buffer.from(hex, "hex");
	}

	#setItem(id: number, bytes: Uint8Array): void {
		this.image.items[id] = Buffer.from(bytes).toString("hex");
		this.imageChanged();
	}

	// ---- commands

	#command(type: number, command: number, data: Buffer): void {
		if (command === Mt.sysResetRequest) {
			this.#reset(1);
			return;
		}
		if (type !== MtType.synchronousRequest) return;
		const node = this.node;
		switch (command) {
			case Mt.sysPing:
				this.#answer(command, 0x79, 0x05);
				return;
			case Mt.sysVersion:
				this.#answer(command, VERSION);
				return;
			case Mt.sysGetExtendedAddress:
				this.#answer(command, extendedBytes(node.extendedAddress));
				return;
			case Mt.sysNvItemInit: {
				const id = data.readUInt16LE(0);
				const length = data.readUInt16LE(2);
				if (this.#item(id)) {
					this.#answer(command, MtStatus.success);
					return;
				}
				const value = Buffer.alloc(length, 0xff);
				value.set(data.subarray(5, 5 + data[4]!));
				this.#setItem(id, value);
				this.#answer(command, MtStatus.itemCreated);
				return;
			}
			case Mt.sysNvRead:
			case Mt.sysNvReadExtended: {
				const item = this.#item(data.readUInt16LE(0));
				const offset = command === Mt.sysNvRead ? data[2]! : data.readUInt16LE(2);
				if (!item || offset > item.length) {
					this.#answer(command, MtStatus.invalidParameter, 0);
					return;
				}
				const part = item.subarray(offset, offset + 246);
				this.#answer(command, MtStatus.success, part.length, part);
				return;
			}
			case Mt.sysNvWrite:
			case Mt.sysNvWriteExtended: {
				const isExtended = command === Mt.sysNvWriteExtended;
				const id = data.readUInt16LE(0);
				const offset = isExtended ? data.readUInt16LE(2) : data[2]!;
				const length = isExtended ? data.readUInt16LE(4) : data[3]!;
				const value = data.subarray(isExtended ? 6 : 4, (isExtended ? 6 : 4) + length);
				const item = this.#item(id);
				if (!item || offset + length > item.length || value.length !== length) {
					this.#answer(command, MtStatus.invalidParameter);
					return;
				}
				item.set(value, offset);
				this.#setItem(id, item);
				if (id === MtItem.logicalType) node.logicalType = item[0]!;
				this.#answer(command, MtStatus.success);
				return;
			}
			case Mt.sysNvDelete: {
				const id = data.readUInt16LE(0);
				const item = this.#item(id);
				if (!item) {
					this.#answer(command, MtStatus.itemCreated);
					return;
				}
				if (item.length !== data.readUInt16LE(2)) {
					this.#answer(command, 0x0c);
					return;
				}
				delete this.image.items[id];
				this.imageChanged();
				this.#answer(command, MtStatus.success);
				return;
			}
			case Mt.sysNvLength:
				this.#answer(command, u16(this.#item(data.readUInt16LE(0))?.length ?? 0));
				return;
			case Mt.sysTableCreate:
			case Mt.sysTableWrite:
			case Mt.sysTableRead:
			case Mt.sysTableDelete:
			case Mt.sysTableLength:
				this.#tableCommand(command, data);
				return;
			case Mt.afRegister:
				this.#register(command, data);
				return;
			case Mt.afDataRequest:
			case Mt.afDataRequestExtended:
				this.#dataRequest(command, data);
				return;
			case Mt.afDataRetrieve: {
				const timestamp = data.readUInt32LE(0);
				const index = data.readUInt16LE(4);
				const length = data[6]!;
				const stored = this.#stored.find((one) => one.timestamp === timestamp);
				if (!stored) {
					this.#answer(command, MtStatus.failure, 0);
					return;
				}
				if (length === 0) this.#stored.splice(this.#stored.indexOf(stored), 1);
				const part = stored.payload.subarray(index, index + length);
				this.#answer(command, MtStatus.success, part.length, part);
				return;
			}
			case Mt.zdoNwkAddressRequest:
				this.#answer(command, MtStatus.success);
				this.#zdoAddress(ZdoCluster.nwkAddress, data);
				return;
			case Mt.zdoIeeeAddressRequest:
				this.#answer(command, MtStatus.success);
				this.#zdoAddress(ZdoCluster.ieeeAddress, data);
				return;
			case Mt.zdoManagementPermitJoinRequest: {
				const isBroadcast = data[0] === AddressMode.broadcast;
				const target = data.readUInt16LE(1);
				this.#answer(command, MtStatus.success);
				// 0xFFFC with a short-address mode is how hosts name the coordinator alone.
				if (!isBroadcast && target >= 0xfff8) node.permitJoin(data[3]!);
				else this.#zdo(target, ZdoCluster.managementPermitJoin, data.subarray(3));
				if (isBroadcast) node.permitJoin(data[3]!);
				if (isBroadcast || target >= 0xfff8) this.#send(MtType.asynchronous, 0x05b6, [...u16(node.shortAddress), 0]);
				return;
			}
			case Mt.zdoStartupFromApp:
				this.#startup(command);
				return;
			case Mt.zdoExtRouteDiscovery:
				this.#answer(command, MtStatus.success);
				return;
			case Mt.zdoExtFindGroup: {
				const group = data.readUInt16LE(1);
				const isMember = node.groups.get(group)?.has(data[0]!) ?? false;
				this.#answer(command, isMember ? MtStatus.success : MtStatus.failure, u16(group), 0);
				return;
			}
			case Mt.zdoExtAddGroup: {
				const group = data.readUInt16LE(1);
				const members = node.groups.get(group) ?? new Set();
				node.groups.set(group, members.add(data[0]!));
				node.memoryChanged();
				this.#answer(command, MtStatus.success);
				return;
			}
			case Mt.zdoExtRemoveGroup:
				this.#answer(
					command,
					node.groups.get(data.readUInt16LE(1))?.delete(data[0]!) ? MtStatus.success : MtStatus.failure,
				);
				node.memoryChanged();
				return;
			case Mt.zdoExtNetworkInformation:
				this.#answer(
					command,
					u16(node.shortAddress),
					node.state,
					u16(node.panId),
					u16(node.parent),
					extendedBytes(node.extendedPanId),
					extendedBytes(node.parentExtended),
					node.channel,
				);
				return;
			case Mt.utilGetDeviceInformation:
				this.#answer(
					command,
					0,
					extendedBytes(node.extendedAddress),
					u16(node.shortAddress),
					7,
					node.state,
					node.children.size,
					[...node.children.keys()].flatMap(u16),
				);
				return;
			case Mt.utilLedControl:
				this.#answer(command, MtStatus.success);
				return;
			case Mt.utilAssociationCount:
				this.#answer(command, u16(node.children.size));
				return;
			case Mt.utilAssociationFindDevice: {
				const child = [...node.children][data[0]!];
				const record = child
					? [...u16(child[0]), ...u16(data[0]!), child[1].isReceiverOnWhenIdle ? 2 : 1, 0, 0, 0, 0]
					: [0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
				this.#answer(command, record.concat(new Array<number>(18 - record.length).fill(0)));
				return;
			}
			case Mt.utilAssociationGetWithAddress: {
				const extended = extendedText(data);
				const wanted = data.readUInt16LE(8);
				const children = [...node.children];
				const index = children.findIndex(([address, one]) => one.extendedAddress === extended || address === wanted);
				const child = children[index];
				if (!child) this.#answer(command, 0xfe, 0xff, 0xff, 0xff, 0xff);
				else {
					const relation = child[1].isRouter ? 3 : child[1].isReceiverOnWhenIdle ? 2 : 1;
					this.#answer(command, u16(child[0]), u16(index), relation);
				}
				return;
			}
			case Mt.utilAssociationRemove: {
				const extended = extendedText(data);
				for (const [address, child] of node.children)
					if (child.extendedAddress === extended) node.children.delete(address);
				this.#answer(command, MtStatus.success);
				return;
			}
			case Mt.utilAssociationAdd:
				node.children.set(data.readUInt16LE(8), {
					extendedAddress: extendedText(data),
					isReceiverOnWhenIdle: data[10] !== 1,
					isRouter: data[10] === 3,
				});
				this.#answer(command, MtStatus.success);
				return;
			case Mt.bdbAddInstallCode:
			case Mt.bdbSetActiveCentralizedKey:
			case Mt.bdbSetChannel:
			case Mt.bdbStartCommissioning:
			case Mt.bdbRecoverNetwork:
				this.#commissioning(command, data);
				return;
			default:
		}
		const cluster = ZDO_REQUESTS[command];
		if (cluster !== undefined) {
			this.#answer(command, MtStatus.success);
			const length = cluster === ZdoCluster.bind || cluster === ZdoCluster.unbind ? 21 : data.length;
			this.#zdo(data.readUInt16LE(0), cluster, data.subarray(2, 2 + length));
			return;
		}
		const subsystems = ["", "SYS", "MAC", "NWK", "AF", "ZDO", "SAPI", "UTIL", "DEBUG", "APP"];
		this.unknown.push(
			`${subsystems[command >> 8] ?? `subsystem ${command >> 8}`} 0x${(command & 0xff).toString(16).padStart(2, "0")}`,
		);
		// "Unknown command", with the command that it is about.
		this.#send(MtType.synchronousResponse, Mt.rpcError, [2, (type << 5) | (command >> 8), command & 0xff]);
	}

	#tableCommand(command: number, data: Buffer): void {
		const key = `${data[0]}.${data.readUInt16LE(1)}.${data.readUInt16LE(3)}`;
		const hex = this.image.tables[key];
		const value = hex === undefined ? undefined : Buffer.from(hex, "hex");
		switch (command) {
			case Mt.sysTableLength:
				this.#answer(command, value?.length ?? 0);
				return;
			case Mt.sysTableCreate:
				this.image.tables[key] = "ff".repeat(data.readUInt32LE(5));
				break;
			case Mt.sysTableDelete:
				delete this.image.tables[key];
				break;
			case Mt.sysTableRead: {
				const offset = data.readUInt16LE(5);
				if (!value) this.#answer(command, MtStatus.failure, 0);
				else {
					const part = value.subarray(offset, offset + data[7]!);
					this.#answer(command, 0, part.length, part);
				}
				return;
			}
			default: {
				const offset = data.readUInt16LE(5);
				const bytes = data.subarray(8, 8 + data[7]!);
				if (!value || offset + bytes.length > value.length) {
					this.#answer(command, MtStatus.failure);
					return;
				}
				value.set(bytes, offset);
				this.image.tables[key] = value.toString("hex");
			}
		}
		this.imageChanged();
		this.#answer(command, MtStatus.success);
	}

	#register(command: number, data: Buffer): void {
		const endpoint = data[0]!;
		if (this.node.endpoints.has(endpoint)) {
			this.#answer(command, 0xb8); // afStatus: duplicate
			return;
		}
		const inputCount = data[7]!;
		const outputAt = 8 + 2 * inputCount;
		const outputCount = data[outputAt]!;
		const list = (at: number, count: number): number[] =>
			Array.from({ length: count }, (_, i) => data.readUInt16LE(at + 2 * i));
		this.node.endpoints.set(endpoint, {
			endpoint,
			profile: data.readUInt16LE(1),
			device: data.readUInt16LE(3),
			version: data[5]!,
			inputClusters: list(8, inputCount),
			outputClusters: list(outputAt + 1, outputCount),
		});
		this.#answer(command, MtStatus.success);
	}

	#dataRequest(command: number, data: Buffer): void {
		const isExtended = command === Mt.afDataRequestExtended;
		const mode = isExtended ? data[0]! : AddressMode.short;
		let at = isExtended ? 9 : 2;
		const targetEndpoint = data[at++]!;
		if (isExtended) at += 2; // PAN
		const sourceEndpoint = data[at++]!;
		const cluster = data.readUInt16LE(at);
		const transaction = data[at + 2]!;
		const options = data[at + 3]!;
		const radius = data[at + 4]!;
		at += 5;
		const length = isExtended ? data.readUInt16LE(at) : data[at]!;
		at += isExtended ? 2 : 1;
		const payload = Uint8Array.from(data.subarray(at, at + length));
		const forced = this.faults.dataRequestStatus?.(this.#requestCount++) ?? 0;
		const endpoint = this.node.endpoints.get(sourceEndpoint);
		if (forced !== 0 || !endpoint || payload.length !== length || length > APS_MESSAGE_MAX) {
			this.#answer(command, forced || MtStatus.invalidParameter);
			return;
		}
		const base = {
			targetEndpoint,
			sourceEndpoint,
			cluster,
			profile: endpoint.profile,
			ackRequest: (options & 0x10) !== 0,
			radius,
			payload,
		};
		const messages: OutgoingMessage[] = [];
		if (mode === AddressMode.bindings) {
			for (const binding of this.node.bindings) {
				if (binding.sourceEndpoint !== sourceEndpoint || binding.cluster !== cluster) continue;
				if (typeof binding.target === "number") messages.push({ ...base, target: 0xfffd, group: binding.target });
				else {
					const target = this.node.addresses.get(binding.target);
					if (target !== undefined) messages.push({ ...base, target, targetEndpoint: binding.targetEndpoint });
				}
			}
			if (messages.length === 0) {
				this.#answer(command, DataStatus.noBoundDevice);
				return;
			}
		} else {
			const word = data.readUInt16LE(isExtended ? 1 : 0);
			if (mode === AddressMode.group) messages.push({ ...base, target: 0xfffd, group: word });
			else if (mode === AddressMode.extended) {
				const target = this.node.addresses.get(extendedText(data, 1));
				if (target === undefined) {
					this.#answer(command, MtStatus.invalidParameter);
					return;
				}
				messages.push({ ...base, target });
			} else messages.push({ ...base, target: word });
		}
		this.#answer(command, MtStatus.success);
		for (const message of messages)
			this.node.send(message, (status) => {
				const told = this.faults.dataConfirmStatus?.(status, this.#confirmCount++) ?? status;
				this.#send(MtType.asynchronous, Mt.afDataConfirm, [told, sourceEndpoint, transaction]);
			});
	}

	#zdo(target: number, cluster: number, payload: Uint8Array): void {
		this.node.sendZdo(target, cluster, payload);
	}

	#zdoAddress(cluster: number, data: Buffer): void {
		if (cluster === ZdoCluster.nwkAddress) {
			// A sleepy child would not hear the broadcast's receiver-on group; 0xFFFF reaches it through its parent.
			if (extendedText(data) === this.node.extendedAddress) this.#zdo(this.node.shortAddress, cluster, data);
			else this.#zdo(0xffff, cluster, data);
		} else this.#zdo(data.readUInt16LE(0), cluster, data);
	}

	#startup(command: number): void {
		const { network } = this.image;
		const node = this.node;
		if (this.#isStarted) {
			this.#answer(command, MtStatus.success);
			return;
		}
		if (network) {
			this.#answer(command, 0);
			this.#isStarted = true;
			node.restore(network);
			return;
		}
		this.#answer(command, 1);
		if (node.logicalType === LogicalType.coordinator) this.#form();
		else node.join(this.#item(MtItem.channelList)?.readUInt32LE(0) ?? this.#primaryChannels);
	}

	#form(): void {
		const channels = this.#primaryChannels || (this.#item(MtItem.channelList)?.readUInt32LE(0) ?? 0x800);
		let channel = 11;
		while (channel < 26 && !(channels & (1 << channel))) channel++;
		const panId = this.#item(MtItem.panId)?.readUInt16LE(0) ?? 0xffff;
		const extended = this.#item(MtItem.extendedPanId) ?? extendedBytes(this.node.extendedAddress);
		const key = this.#item(MtItem.preconfiguredKey) ?? Buffer.alloc(16, 1);
		this.#isStarted = true;
		this.node.form(
			panId === 0xffff ? this.#air.random.integer(1, 0xfffe) : panId,
			extendedText(extended),
			channel,
			key,
		);
	}

	#commissioning(command: number, data: Buffer): void {
		const node = this.node;
		switch (command) {
			case Mt.bdbAddInstallCode: {
				const extended = extendedText(data, 1);
				const key = data[0] === 2 ? data.subarray(9, 25) : installCodeKey(data.subarray(9, 27));
				if (key) node.installCodeKeys.set(extended, Buffer.from(key));
				this.#answer(command, key ? MtStatus.success : MtStatus.failure);
				return;
			}
			case Mt.bdbSetActiveCentralizedKey: {
				if (data[0] === 0) node.linkKey = DEFAULT_LINK_KEY;
				else {
					const key = installCodeKey(data.subarray(1, 19));
					if (!key) {
						this.#answer(command, MtStatus.failure);
						return;
					}
					node.linkKey = key;
				}
				this.#answer(command, MtStatus.success);
				return;
			}
			case Mt.bdbSetChannel:
				if (data[0]) this.#primaryChannels = data.readUInt32LE(1);
				this.#answer(command, MtStatus.success);
				return;
			case Mt.bdbRecoverNetwork:
				if (node.state !== NodeState.orphan) {
					this.#answer(command, MtStatus.failure);
					return;
				}
				this.#answer(command, MtStatus.success);
				node.rejoin((isRejoined) => {
					const status = isRejoined ? CommissioningStatus.networkRestored : CommissioningStatus.noNetwork;
					this.#send(MtType.asynchronous, Mt.bdbCommissioningNotification, [status, 5, 0]);
				});
				return;
			default:
		}
		const mode = data[0]!;
		this.#answer(command, MtStatus.success);
		if (mode & Commissioning.formation && node.logicalType === LogicalType.coordinator) this.#form();
		else if (mode & Commissioning.steering) {
			if (node.isJoined) {
				node.sendZdo(0xfffc, ZdoCluster.managementPermitJoin, Uint8Array.of(180, 1));
				if (node.isRouting) node.permitJoin(180);
				this.#send(MtType.asynchronous, Mt.bdbCommissioningNotification, [CommissioningStatus.success, 1, 0]);
			} else node.join(this.#primaryChannels, this.#wantedNetwork());
		}
	}

	/** The extended PAN identifier that a joining device was told to look for. */
	#wantedNetwork(): string | undefined {
		const item = this.#item(MtItem.extendedPanId);
		if (!item || item.every((byte) => byte === 0xff) || item.every((byte) => byte === 0)) return undefined;
		return extendedText(item);
	}

	// ---- node events

	stateChanged(state: number): void {
		if (state === DeviceState.coordinator) this.#writeNetworkItems();
		if (this.node.isJoined) this.image.items[MtItem.bdbNodeIsOnANetwork] = "01";
		else if (state === DeviceState.initialised) this.image.items[MtItem.bdbNodeIsOnANetwork] = "00";
		this.image.network = this.node.memory();
		this.imageChanged();
		this.#send(MtType.asynchronous, Mt.zdoStateChangeIndication, [state]);
	}

	/** What a host reads back of a formed network: NIB and key descriptors, in the unaligned layout. */
	#writeNetworkItems(): void {
		const node = this.node;
		const spare = new Array<number>(17).fill(0);
		const channels = this.#primaryChannels || 1 << node.channel;
		const information = [
			...[0, 5, 2, 20, 15, 20, 0, 30, 1, 0, 0, 1, 5, 1, node.capability],
			...u16(7),
			...[2, 13, 30],
			...u16(node.shortAddress),
			node.channel,
			...u16(0),
			...extendedBytes(node.extendedAddress),
			...u16(node.panId),
			8,
			...u32(channels),
			...[15, 15, 4, 0],
			...u32(0),
			...u32(0),
			0,
			...extendedBytes(node.extendedPanId),
			1,
			...spare,
			...spare,
			...[0, 0, 15, 3, 0, 1, 120, 10, 0],
			...u16(0),
			...u16(0),
			node.updateIdentifier,
		];
		this.#setItem(MtItem.networkInformation, Uint8Array.from(information));
		const key = Uint8Array.of(node.keySequence, ...(node.networkKey ?? []));
		this.#setItem(MtItem.activeKeyInformation, key);
		this.#setItem(MtItem.alternateKeyInformation, key);
	}

	messageReceived(message: IncomingMessage): void {
		const timestamp = Math.floor(this.#air.clock.nowMicroseconds / 320) >>> 0;
		const { payload } = message;
		const middle = [
			message.sourceEndpoint,
			message.targetEndpoint,
			message.wasBroadcast ? 1 : 0,
			message.lqi,
			0,
			...u32(timestamp),
			message.counter,
		];
		// Newer firmware adds the last hop and the radius behind the data.
		const tail = [...u16(message.macSource), 29];
		if (payload.length <= INLINE_BYTES_MAX) {
			this.#send(MtType.asynchronous, Mt.afIncomingMessage, [
				...u16(message.group),
				...u16(message.cluster),
				...u16(message.source),
				...middle,
				payload.length,
				...payload,
				...tail,
			]);
			return;
		}
		const stored = { timestamp, payload };
		this.#stored.push(stored);
		this.#air.clock.after(STORED_MICROSECONDS, () => {
			const at = this.#stored.indexOf(stored);
			if (at >= 0) this.#stored.splice(at, 1);
		});
		this.#send(MtType.asynchronous, Mt.afIncomingMessageExtended, [
			...u16(message.group),
			...u16(message.cluster),
			AddressMode.short,
			...u16(message.source),
			...[0, 0, 0, 0, 0, 0],
			message.sourceEndpoint,
			...u16(this.node.panId),
			...middle.slice(1),
			...u16(payload.length),
			...tail,
		]);
	}

	zdoResponse(source: number, cluster: number, payload: Uint8Array): void {
		const request = cluster & 0x7fff;
		// Bind answers and management answers keep their number; 0x8000 + n becomes 0x80 + n.
		const command = 0x0500 | 0x80 | (request & 0x7f);
		if (request === ZdoCluster.nwkAddress || request === ZdoCluster.ieeeAddress) {
			// No source address here; start index and count change places, and there are none.
			this.#send(MtType.asynchronous, command, [...payload.subarray(0, 11), 0, 0]);
			return;
		}
		this.#send(MtType.asynchronous, command, [...u16(source), ...payload]);
	}

	deviceAnnounced(source: number, shortAddress: number, extendedAddress: string, capability: number): void {
		this.#send(MtType.asynchronous, Mt.zdoEndDeviceAnnounceIndication, [
			...u16(source),
			...u16(shortAddress),
			...extendedBytes(extendedAddress),
			capability,
		]);
	}

	deviceJoined(shortAddress: number, extendedAddress: string, parent: number): void {
		this.#send(MtType.asynchronous, Mt.zdoTrustCenterDeviceIndication, [
			...u16(shortAddress),
			...extendedBytes(extendedAddress),
			...u16(parent),
		]);
	}

	deviceLeft(shortAddress: number, extendedAddress: string, isRejoin: boolean): void {
		this.#send(MtType.asynchronous, Mt.zdoLeaveIndication, [
			...u16(shortAddress),
			...extendedBytes(extendedAddress),
			0,
			0,
			isRejoin ? 1 : 0,
		]);
	}

	permitJoinChanged(seconds: number): void {
		this.#send(MtType.asynchronous, Mt.zdoPermitJoinIndication, [seconds]);
	}

	joinEnded(status: number): void {
		this.#send(MtType.asynchronous, Mt.bdbCommissioningNotification, [status, 1, 0]);
	}
}
