#include "textflag.h"

// Restartable sequences. The rules that every one of them keeps:
//
//   1. It arms itself by storing its descriptor's address in struct rseq, loads
//      the CPU number after that, and touches only that CPU's slot.
//   2. It loads the lock word before any other word of the stack.
//   3. Its last instruction is its only store that anyone else may rely on; what
//      push writes into the array before lies above the size and means nothing yet.
//   4. What the abort handler needs is in registers that the sequence leaves alone.
//
// The kernel wants start, length and abort address of each sequence, which the
// assembler can't put into DATA. findSection reads them off the code itself: the
// arming instruction, the commit mark and the signature must each occur once.
//
// The Filter's words: 0 base, 8 pages, 16 owners, 24 mask, 32 magic, 40 limit,
// 48 slots.
//
// Registers: R8 offset of struct rseq from the thread pointer, R9 descriptor,
// R10 scratch (CPU, then size), R11 scratch, R12 the CPU's stack, SI header.
// R14 (g) and X15 (zero) of Go's register ABI are never touched.
//
// The stack's words: 0 head, 8 lock, 16 objs, 24 cap, 28 own (see Stack).

// MOVQ R9, FS:8(R8): rseq.rseq_cs = descriptor. The sequence starts behind it.
#define ARM BYTE $0x64; BYTE $0x4d; BYTE $0x89; BYTE $0x48; BYTE $0x08

// MOVL FS:4(R8), R10: rseq.cpu_id.
#define LOAD_CPU BYTE $0x64; BYTE $0x45; BYTE $0x8b; BYTE $0x50; BYTE $0x04

// Directly behind the commit: MOVL $mark, R11, which leaves the flags alone.
#define COMMITTED BYTE $0x41; BYTE $0xbb; LONG $0x51ab0c05

// The same behind a commit that is followed by RET at once: never executed.
#define COMMITTED_RET RET; BYTE $0x90; LONG $0x51ab0c05

// The signature that the kernel wants before an abort handler, and the end of
// what findSection may read.
#define ABORT LONG $0x53053053
#define END LONG $0x51ab0e0d

// POP_BODY takes one object: AX in: slots, out: object. DI keeps slots. BX and CX
// leave as zero, which in the register ABI is a nil error.
#define POP_BODY \
	ARM; \
	LOAD_CPU; \
	CMPL R10, ·ncpu(SB); \
	JAE  slow; \
	SHLQ $8, R10; \
	LEAQ (DI)(R10*1), R12; \
	TESTB $1, 8(R12); \
	JNZ  slow; \
	MOVQ 0(R12), SI; \
	MOVWLZX SI, R10; \
	TESTL R10, R10; \
	JZ   slow; \
	MOVQ 16(R12), R11; \
	MOVQ -8(R11)(R10*8), AX; \
	XORL BX, BX; \
	XORL CX, CX; \
	ADDQ $0xffff, SI; \
	MOVQ SI, 0(R12)

// FIND_OWNER is Filter.Owner: AX filter, BX object; CX becomes the owner word or 0,
// DI the slots. It comes before the sequence, for nothing in it depends on the CPU.
#define FIND_OWNER \
	MOVQ 48(AX), DI; \
	XORL CX, CX; \
	MOVQ BX, R10; \
	SUBQ 0(AX), R10; \
	MOVQ R10, R11; \
	SHRQ $12, R10; \
	CMPQ R10, 8(AX); \
	JAE  found; \
	ANDQ 24(AX), R11; \
	IMULQ 32(AX), R11; \
	CMPQ R11, 40(AX); \
	JAE  found; \
	MOVQ 16(AX), R11; \
	MOVL (R11)(R10*4), CX; \
found:

// PUSH_BODY puts BX on the stack of slots DI if its owner word is CX.
#define PUSH_BODY \
	ARM; \
	LOAD_CPU; \
	CMPL R10, ·ncpu(SB); \
	JAE  slow; \
	SHLQ $8, R10; \
	LEAQ (DI)(R10*1), R12; \
	TESTB $1, 8(R12); \
	JNZ  slow; \
	CMPL CX, 28(R12); \
	JNE  slow; \
	MOVQ 0(R12), SI; \
	MOVWLZX SI, R10; \
	CMPL R10, 24(R12); \
	JAE  slow; \
	MOVQ 16(R12), R11; \
	MOVQ BX, (R11)(R10*8); \
	ADDQ $0x10001, SI; \
	MOVQ SI, 0(R12)

// popRegister is the code of a Pop: func(slots uintptr) (unsafe.Pointer, error)
// in Go's register ABI, AX in, AX BX CX out. DX holds the popValue it was called
// through, whose second word is the slow path to go to instead: a jump, so that
// the slow path sees exactly the call that the user made.
TEXT ·popRegister(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ AX, DI
	MOVQ ·rseqOffset(SB), R8
	MOVQ ·popRegisterCS(SB), R9
start:
	POP_BODY
	COMMITTED_RET
slow:
	MOVQ DI, AX
	MOVQ 8(DX), DX
	MOVQ 0(DX), R12
	JMP  R12
	ABORT
	JMP  start
	END

// freeRegister is the code of a Free: func(f *Filter, p unsafe.Pointer), AX BX in,
// which both stay for the slow path. DX as above.
TEXT ·freeRegister(SB), NOSPLIT|NOFRAME, $0-0
	FIND_OWNER
	MOVQ ·rseqOffset(SB), R8
	MOVQ ·freeRegisterCS(SB), R9
start:
	PUSH_BODY
	COMMITTED_RET
slow:
	MOVQ 8(DX), DX
	MOVQ 0(DX), R12
	JMP  R12
	ABORT
	JMP  start
	END

// func popStack(slots uintptr) unsafe.Pointer
TEXT ·popStack(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ slots+0(FP), DI
	MOVQ ·rseqOffset(SB), R8
	MOVQ ·popStackCS(SB), R9
start:
	POP_BODY
	COMMITTED
	MOVQ AX, ret+8(FP)
	RET
slow:
	MOVQ $0, ret+8(FP)
	RET
	ABORT
	JMP  start
	END

// func pushStack(slots uintptr, p unsafe.Pointer, own uint32) bool
TEXT ·pushStack(SB), NOSPLIT|NOFRAME, $0-25
	MOVQ slots+0(FP), DI
	MOVQ p+8(FP), BX
	MOVL own+16(FP), CX
	MOVQ ·rseqOffset(SB), R8
	MOVQ ·pushStackCS(SB), R9
start:
	PUSH_BODY
	COMMITTED
	MOVB $1, ret+24(FP)
	RET
slow:
	MOVB $0, ret+24(FP)
	RET
	ABORT
	JMP  start
	END

// func lockStack(slots uintptr) int
//
// Commits lock+1 on the calling CPU's stack, or returns -1. The commit is locked
// because a LockCPU may swap the same word from another CPU.
TEXT ·lockStack(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ slots+0(FP), DI
	MOVQ ·rseqOffset(SB), R8
	MOVQ ·lockStackCS(SB), R9
start:
	ARM
	LOAD_CPU
	CMPL R10, ·ncpu(SB)
	JAE  slow
	MOVL R10, SI
	SHLQ $8, R10
	LEAQ (DI)(R10*1), R12
	MOVQ 8(R12), AX
	TESTB $1, AX
	JNZ  slow
	LEAQ 1(AX), R11
	LOCK
	CMPXCHGQ R11, 8(R12)
	COMMITTED
	JNE  slow
	MOVQ SI, ret+8(FP)
	RET
slow:
	MOVQ $-1, ret+8(FP)
	RET
	ABORT
	JMP  start
	END

// func rseqCPU() int
TEXT ·rseqCPU(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ ·rseqOffset(SB), R8
	LOAD_CPU
	MOVLQSX R10, R10
	MOVQ R10, ret+0(FP)
	RET

// func sectionCode(code *[5]uintptr)
TEXT ·sectionCode(SB), NOSPLIT, $0-8
	MOVQ code+0(FP), DI
	LEAQ ·popRegister(SB), AX
	MOVQ AX, 0(DI)
	LEAQ ·freeRegister(SB), AX
	MOVQ AX, 8(DI)
	LEAQ ·popStack(SB), AX
	MOVQ AX, 16(DI)
	LEAQ ·pushStack(SB), AX
	MOVQ AX, 24(DI)
	LEAQ ·lockStack(SB), AX
	MOVQ AX, 32(DI)
	RET
