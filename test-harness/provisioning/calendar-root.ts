export { calendarRoot } from "../broadcast/calendar-tree.js";
