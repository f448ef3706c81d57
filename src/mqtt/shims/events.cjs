"use strict";

/** One handler for each event is all that the parser and the machine need. */
class EventEmitter {
	constructor() {
		this._handlers = { __proto__: null };
	}
	on(event, handler) {
		this._handlers[event] = handler;
		return this;
	}
	emit(event, value) {
		const handler = this._handlers[event];
		if (handler === undefined) {
			if (event === "error") throw value;
			return false;
		}
		handler(value);
		return true;
	}
}

module.exports = { EventEmitter };
