/* The binding to XS. See README.md. */

#ifndef WATTLOCK_CRYPTO_INSTALL_H
#define WATTLOCK_CRYPTO_INSTALL_H

#include "xsAll.h"

/* Defines the functions and constants of `NativeCrypto` on the object on top of the stack, and leaves it there. */
void wattlock_crypto_install(txMachine *the);

#endif
