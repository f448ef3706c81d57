/* Reset and traps. Execution begins at the first byte of the image flash. */

	.option arch, +zicsr
	.section .reset, "ax"
	.globl _start
_start:
	.option push
	.option norelax
	la gp, __global_pointer$
	.option pop
	la t0, machine_trap
	csrw mtvec, t0
	csrw mie, zero
	la sp, __stack_top
	/* The stack is painted, so that its deepest use can be read off. */
	la t0, __stack_start
	li t1, 0x5a5a5a5a
1:	sw t1, 0(t0)
	addi t0, t0, 4
	bltu t0, sp, 1b
	/* .data and .tdata */
	la t0, __data_start
	la t1, __data_end
	la t2, __data_source
2:	bgeu t0, t1, 3f
	lw t3, 0(t2)
	sw t3, 0(t0)
	addi t0, t0, 4
	addi t2, t2, 4
	j 2b
	/* .tbss and .bss */
3:	la t0, __bss_start
	la t1, __bss_end
4:	bgeu t0, t1, 5f
	sw zero, 0(t0)
	addi t0, t0, 4
	j 4b
5:	la tp, __tls_start
	call main
6:	j 6b

	.section .text.trap, "ax"
	.globl machine_trap
	.balign 4
machine_trap:
	/* Nothing returns from here: a fault is the end, and so is the one interrupt that is ever let in. */
	csrr a0, mcause
	csrr a1, mepc
	csrr a2, mtval
	mv a3, ra
	la sp, __trap_stack_top
	tail machine_trapped
