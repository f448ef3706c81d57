"use strict";
const nothing = () => {};
module.exports = () => nothing;
