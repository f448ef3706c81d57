import { installTrial } from "./trial.js";

installTrial(2);
