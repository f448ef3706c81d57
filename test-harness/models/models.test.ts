import { testRules } from "./explore.js";

testRules([
	{ model: "unicast", claim: "noreplay", broken: ["TWICE"], kept: ["IMPLICIT", "NOBOUND"] },
	{ model: "unicast", claim: "resync", fair: true, broken: ["IMPLICIT", "NOBOUND"] },
	{ model: "journal", claim: "once", broken: ["NAIVE", "FIRST"], kept: ["LAZY"] },
	{ model: "journal", claim: "fs", broken: ["LAZY"] },
	{ model: "reservation", claim: "once", broken: ["AFTER"], kept: ["START"] },
	{ model: "reservation", claim: "fs", broken: ["START"] },
	{ model: "group", claim: "excl", broken: ["KEEPS"], kept: ["NOCATCHUP"] },
	{ model: "group", claim: "sync", fair: true, broken: ["NOCATCHUP"] },
]);
