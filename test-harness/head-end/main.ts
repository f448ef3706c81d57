import { run } from "./process.js";

await run(process.argv[2]);
