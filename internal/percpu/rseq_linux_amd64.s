#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_amd64.h"

// popRegister is the code of a Pop, a func() (unsafe.Pointer, error) in Go's register ABI.
TEXT ·popRegister(SB), NOSPLIT|NOFRAME, $0-0
	SEQUENCE(·popRegisterCS)
	POP_BODY(Pop_slots(DX))
	COMMITTED_RET
slow:
	SLOW_PATH(Pop_slow)
	RESTART

// freeRegister is the code of a Free, a func(p unsafe.Pointer). It leaves AX alone for the slow
// path. The code in front of the sequence is Filter.Owner: nothing in it depends on the CPU.
TEXT ·freeRegister(SB), NOSPLIT|NOFRAME, $0-0
	PAGE(FILTER(Filter_base), FILTER(Filter_pages))
	STARTS(FILTER(Filter_mask), FILTER(Filter_magic), FILTER(Filter_limit))
	MOVQ FILTER(Filter_owners), R11
	MOVL (R11)(R10*OWNER), CX
	SEQUENCE(·freeRegisterCS)
	PUSH_BODY(FILTER(Filter_slots))
	COMMITTED_RET
slow:
	SLOW_PATH(Free_slow)
	RESTART

// func popStack(slots uintptr) unsafe.Pointer
TEXT ·popStack(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ slots+0(FP), DI
	SEQUENCE(·popStackCS)
	POP_BODY(DI)
	COMMITTED
	MOVQ AX, ret+8(FP)
	RET
slow:
	MOVQ $0, ret+8(FP)
	RET
	RESTART

// func pushStack(slots uintptr, p unsafe.Pointer, own uint32) bool
TEXT ·pushStack(SB), NOSPLIT|NOFRAME, $0-25
	MOVQ slots+0(FP), DI
	MOVQ p+8(FP), AX
	MOVL own+16(FP), CX
	SEQUENCE(·pushStackCS)
	PUSH_BODY(DI)
	COMMITTED
	MOVB $1, ret+24(FP)
	RET
slow:
	MOVB $0, ret+24(FP)
	RET
	RESTART

// func lockStack(slots uintptr) int
//
// Closes the gate of the calling CPU's stack and returns the CPU, or -1 if the gate is held. The
// commit may overwrite the word that a TryLockCPU has swapped in from another CPU; TryLockCPU
// looks at the gate again after its barrier.
TEXT ·lockStack(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ slots+0(FP), DI
	SEQUENCE(·lockStackCS)
	ARM
	LOAD_POSSIBLE_CPU
	MOVQ R10, SI
	SHLQ $const_rowShift, R10
	ADDQ DI, R10
	MOVQ Stack_gate(R10), AX
	TESTB $const_popsHeld, AX
	JNZ  slow
	MOVQ $const_heldMark, R11
	ORQ  R11, AX
	MOVQ AX, Stack_gate(R10)
	COMMITTED
	MOVQ SI, ret+8(FP)
	RET
slow:
	MOVQ $-1, ret+8(FP)
	RET
	RESTART

// func rseqCPU() int
TEXT ·rseqCPU(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ ·rseqOffset(SB), R8
	LOAD_CPU
	MOVQ R10, ret+0(FP)
	RET

SLOW_ONLY(·slowPop, Pop_slow)
SLOW_ONLY(·slowFree, Free_slow)
SLOW_ONLY(·slowBySize, PopBySize_slow)
SLOW_ONLY(·slowByOwner, FreeByOwner_slow)
SLOW_ONLY(·slowByNode, PopByNode_slow)
