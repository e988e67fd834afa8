#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_arm64.h"

// popRegister is the code of a Pop, a func() (unsafe.Pointer, error) in Go's register ABI.
TEXT ·popRegister(SB), NOSPLIT|NOFRAME, $0-0
	NO_ERROR
	SEQUENCE(·popRegisterCS)
	POP_BODY(Pop_slots(R26))
	COMMITTED_RET
slow:
	SLOW_PATH(Pop_slow)
	RESTART

// freeRegister is the code of a Free, a func(p unsafe.Pointer). It leaves R0 alone for the slow
// path. The code in front of the sequence is Filter.Owner: nothing in it depends on the CPU.
TEXT ·freeRegister(SB), NOSPLIT|NOFRAME, $0-0
	OWNER_WORD
	SEQUENCE(·freeRegisterCS)
	PUSH_BODY(FILTER(Filter_slots))
	COMMITTED_RET
slow:
	SLOW_PATH(Free_slow)
	RESTART

// func popStack(slots uintptr) unsafe.Pointer
TEXT ·popStack(SB), NOSPLIT|NOFRAME, $0-16
	MOVD slots+0(FP), R14
	SEQUENCE(·popStackCS)
	POP_BODY(R14)
	COMMITTED
	MOVD R0, ret+8(FP)
	RET
slow:
	MOVD ZR, ret+8(FP)
	RET
	RESTART

// func pushStack(slots uintptr, p unsafe.Pointer, own uint32) bool
TEXT ·pushStack(SB), NOSPLIT|NOFRAME, $0-25
	MOVD  slots+0(FP), R14
	MOVD  p+8(FP), R0
	MOVWU own+16(FP), R15
	SEQUENCE(·pushStackCS)
	PUSH_BODY(R14)
	COMMITTED
	MOVD $1, R11
	MOVB R11, ret+24(FP)
	RET
slow:
	MOVB ZR, ret+24(FP)
	RET
	RESTART

// func lockStack(slots uintptr) int
//
// Closes the gate of the calling CPU's stack and returns the CPU, or -1 if the gate is held. The
// commit may overwrite the word that a TryLockCPU has swapped in from another CPU; TryLockCPU
// looks at the gate again after its barrier.
//
// The barrier behind the commit makes the held gate visible before what the holder stores: a
// Snapshot reads the stack's words without a lock, and then the gate.
TEXT ·lockStack(SB), NOSPLIT|NOFRAME, $0-16
	MOVD slots+0(FP), R14
	SEQUENCE(·lockStackCS)
	ARM
	LOAD_POSSIBLE_CPU
	MOVD R10, R15
	ADD  R10<<const_rowShift, R14, R10
	ACQUIRE(Stack_gate, R10, R12)
	TST  $const_popsHeld, R12
	BNE  slow
	MOVD $const_heldMark, R13
	ORR  R13, R12, R12
	MOVD R12, Stack_gate(R10)
	COMMITTED
	DMB  $0xA // ISHST: stores with stores
	MOVD R15, ret+8(FP)
	RET
slow:
	MOVD $-1, R11
	MOVD R11, ret+8(FP)
	RET
	RESTART

// func rseqCPU() int
TEXT ·rseqCPU(SB), NOSPLIT|NOFRAME, $0-8
	MRS  TPIDR_EL0, R8
	MOVD ·rseqOffset(SB), R9
	ADD  R9, R8
	LOAD_CPU
	MOVD R10, ret+0(FP)
	RET

SLOW_ONLY(·slowPop, Pop_slow)
SLOW_ONLY(·slowFree, Free_slow)
SLOW_ONLY(·slowBySize, PopBySize_slow)
SLOW_ONLY(·slowByOwner, FreeByOwner_slow)
SLOW_ONLY(·slowByNode, PopByNode_slow)
