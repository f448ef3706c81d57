import { installTrial } from "./trial.js";

installTrial(1);
