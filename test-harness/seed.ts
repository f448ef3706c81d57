/** One seed for everything random in a test file; printed when the file loads, `SEED=n` replays it. */
export const seed: number = process.env["SEED"] ? Number(process.env["SEED"]) : Math.floor(Math.random() * 0x7fff_ffff);
console.log(`SEED=${seed}`);
