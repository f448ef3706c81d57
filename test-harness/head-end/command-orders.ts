import {
	CommandKind,
	ConnectMode,
	createDemandResponseEvent,
	createLoadLimit,
	createPrices,
	createTariffTable,
	DISCONNECT_REASON_MAX,
	encodeDemandResponse,
	encodeLoadLimit,
	encodePrices,
	encodeTariffTable,
	KeyAction,
	NO_TIME,
	Parameter,
	SWITCHES_MAX,
	TARIFFS_MAX,
} from "../../src/messages/command.js";
import { UserError } from "../user-error.js";

/** An order as it comes over HTTP: the name of a command, and its fields by the names of `src/messages/command.ts`. */
export type Order = Readonly<Record<string, unknown>> & { readonly name: string };

export interface EncodedOrder {
	readonly kind: number;
	/** Writes the body. @returns bytes */
	readonly body: (into: DataView, at: number) => number;
}

/** Reads fields of an order, and says in one line what is wrong. */
class Fields {
	readonly #order: Order;
	readonly #read = new Set(["name"]);

	constructor(order: Order) {
		this.#order = order;
	}

	integer(name: string, minimum: number, maximum: number, otherwise?: number): number {
		this.#read.add(name);
		const value = this.#order[name] ?? otherwise;
		if (!Number.isInteger(value) || (value as number) < minimum || (value as number) > maximum)
			throw new UserError(`${this.#order.name}: ${name} must be a whole number from ${minimum} to ${maximum}`);
		return value as number;
	}

	flag(name: string): boolean {
		this.#read.add(name);
		const value = this.#order[name] ?? false;
		if (typeof value !== "boolean") throw new UserError(`${this.#order.name}: ${name} must be true or false`);
		return value;
	}

	list(name: string, maximum: number): readonly unknown[] {
		this.#read.add(name);
		const value = this.#order[name];
		if (!Array.isArray(value) || value.length > maximum)
			throw new UserError(`${this.#order.name}: ${name} must be a list of up to ${maximum}`);
		return value;
	}

	has(name: string): boolean {
		return this.#order[name] !== undefined;
	}

	/** A field that nobody knows is a mistake: better told than obeyed in part. */
	done(): void {
		const unknown = Object.keys(this.#order).find((name) => !this.#read.has(name));
		if (unknown !== undefined) throw new UserError(`${this.#order.name} has no field ${unknown}`);
	}
}

const WORD = 0xffff_ffff;

function encodeBody(fields: Fields, kind: number, meter: string): EncodedOrder["body"] {
	switch (kind) {
		case CommandKind.connect: {
			const mode = fields.flag("byButton") ? ConnectMode.byButton : ConnectMode.atOnce;
			return (into, at) => {
				into.setUint8(at, mode);
				return 1;
			};
		}
		case CommandKind.disconnect: {
			const reason = fields.integer("reason", 0, DISCONNECT_REASON_MAX, 0);
			return (into, at) => {
				into.setUint8(at, reason);
				return 1;
			};
		}
		case CommandKind.loadLimit: {
			const limit = createLoadLimit();
			limit.limitWatts = fields.integer("limitWatts", 0, WORD);
			limit.durationSeconds = fields.integer("durationSeconds", 0, WORD, 0);
			limit.overSeconds = fields.integer("overSeconds", 1, 3600, 60);
			limit.reconnectSeconds = fields.integer("reconnectSeconds", 0, 0xffff, 0);
			limit.tripsMax = fields.integer("tripsMax", 1, 255, 1);
			limit.thenWatts = fields.integer("thenWatts", 0, WORD, 0);
			return (into, at) => encodeLoadLimit(limit, into, at);
		}
		case CommandKind.price: {
			const prices = createPrices();
			prices.validFromSeconds = fields.integer("validFromSeconds", 0, WORD, 0);
			prices.currency = fields.integer("currency", 0, 999, 978);
			const list = fields.list("prices", TARIFFS_MAX);
			prices.tariffCount = list.length;
			for (const [index, price] of list.entries()) {
				if (!Number.isInteger(price) || Math.abs(price as number) >= 2 ** 31)
					throw new UserError("price: prices must be whole numbers, 1/100000 of the currency a kWh");
				prices.prices[index] = price as number;
			}
			return (into, at) => encodePrices(prices, into, at);
		}
		case CommandKind.tariffCalendar: {
			const table = createTariffTable();
			table.validFromSeconds = fields.integer("validFromSeconds", 0, WORD, 0);
			table.utcOffsetMinutes = fields.integer("utcOffsetMinutes", -720, 840, 60);
			table.summerTime = fields.flag("summerTime");
			const switches = fields.list("switches", SWITCHES_MAX) as readonly { minute?: unknown; tariff?: unknown }[];
			table.switchCount = switches.length;
			for (const [index, each] of switches.entries()) {
				if (!Number.isInteger(each?.minute) || !Number.isInteger(each?.tariff))
					throw new UserError("tariffCalendar: switches must be {minute, tariff}");
				table.minutes[index] = each.minute as number;
				table.tariffs[index] = each.tariff as number;
			}
			return (into, at) => encodeTariffTable(table, into, at);
		}
		case CommandKind.demandResponse: {
			const event = createDemandResponseEvent();
			event.startSeconds = fields.integer("startSeconds", 0, WORD);
			event.durationSeconds = fields.integer("durationSeconds", 0, 86_400 * 7);
			event.limitWatts = fields.integer("limitWatts", 0, WORD, 0);
			event.dutyPermille = fields.integer("dutyPermille", 0, 1000, 1000);
			event.group = fields.integer("group", 0, 255, 0);
			event.optOutAllowed = fields.flag("optOutAllowed");
			return (into, at) => encodeDemandResponse(event, into, at);
		}
		case CommandKind.clock: {
			const stepSecondsMax = fields.integer("stepSecondsMax", 0, WORD, 60);
			return (into, at) => {
				into.setUint32(at, stepSecondsMax);
				return 4;
			};
		}
		case CommandKind.configure: {
			const given: [parameter: number, value: number][] = [];
			for (const [name, parameter] of Object.entries(Parameter))
				if (fields.has(name)) given.push([parameter, fields.integer(name, 0, 3600)]);
			return (into, at) => {
				into.setUint8(at, given.length);
				given.forEach(([parameter, value], index) => {
					into.setUint8(at + 1 + 5 * index, parameter);
					into.setUint32(at + 2 + 5 * index, value);
				});
				return 1 + 5 * given.length;
			};
		}
		case CommandKind.profileRead: {
			const first = fields.integer("first", 0, WORD);
			const count = fields.integer("count", 1, 0xffff);
			return (into, at) => {
				into.setUint32(at, first);
				into.setUint16(at + 4, count);
				return 6;
			};
		}
		case CommandKind.keyMaintenance:
			return (into, at) => {
				into.setUint8(at, KeyAction.reportHead);
				return 1;
			};
		default:
			return (into, at) => {
				const id = Buffer.from(meter, "hex");
				for (let i = 0; i < id.length; i++) into.setUint8(at + i, id[i]!);
				return id.length;
			};
	}
}

/**
 * @param meter the one that it is for: a decommission names it again
 * @throws UserError: one line that says what is wrong with the order
 */
export function encodeOrder(order: Order, meter: string): EncodedOrder {
	const kind = (CommandKind as Readonly<Record<string, number>>)[order.name];
	if (kind === undefined)
		throw new UserError(`there is no command ${order.name}; there are ${Object.keys(CommandKind).join(", ")}`);
	const fields = new Fields(order);
	const body = encodeBody(fields, kind, meter);
	fields.done();
	return { kind, body };
}

/** Until when an order may be carried out. @param validSeconds from now on; absent: an hour */
export function notAfterOf(nowSeconds: number, validSeconds: unknown): number {
	if (validSeconds === undefined) return Math.floor(nowSeconds) + 3600;
	if (!Number.isInteger(validSeconds) || (validSeconds as number) < 1 || (validSeconds as number) > 8 * 86_400)
		throw new UserError("validSeconds must be a whole number from 1 to 691200: 8 days");
	return Math.min(NO_TIME - 1, Math.floor(nowSeconds) + (validSeconds as number));
}
