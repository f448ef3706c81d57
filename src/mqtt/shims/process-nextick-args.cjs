"use strict";
// Asked for by `mqtt-packet` only where a stream has `cork`; ours has not.
module.exports = {
	nextTick() {
		throw new Error("no stream here has cork");
	},
};
