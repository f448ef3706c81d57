throw new Error("this firmware does not even load");
