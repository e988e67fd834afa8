#include "textflag.h"

// Restartable sequences. The rules that every one of them keeps:
//
//   1. It arms itself by storing its descriptor's address in struct rseq, loads
//      the CPU number after that, and touches only that CPU's slot.
//   2. It loads the stack's gate before any other word of the stack.
//   3. Its last instruction is its only store that anyone else may rely on; what
//      push writes into the array before lies above the size and means nothing yet.
//   4. What the abort handler needs is in registers that the sequence leaves alone.
//
// The kernel wants start, length and abort address of each sequence, which the
// assembler can't put into DATA. findSection reads them off the code itself: the
// arming instruction, the commit mark and the signature must each occur once.
//
// A Pop's words: 0 code, 8 slots, 16 slow. A Free's: 0 code, 8 slots, 16 base,
// 24 pages, 32 mask, 40 magic, 48 limit, 56 owners, 64 slow.
//
// A Readers' enterOp and exitOp: 0 code, 8 index, 16 rows, 24 slow.
//
// The stack's words: 0 head, 8 gate (low half 0 unless held, high half owner word),
// 16 objs, 24 cap (see Stack).
//
// Registers: R8 offset of struct rseq from the thread pointer, R9 descriptor,
// R10 the CPU's stack, R11 scratch, R12 size, SI head. R14 (g) and X15 (zero) of Go's
// register ABI are never touched.

// MOVQ R9, FS:8(R8): rseq.rseq_cs = descriptor. The sequence starts behind it.
#define ARM BYTE $0x64; BYTE $0x4d; BYTE $0x89; BYTE $0x48; BYTE $0x08

// MOVLQSX FS:4(R8), R10: rseq.cpu_id, negative on a thread that isn't registered.
#define LOAD_CPU BYTE $0x64; BYTE $0x4d; BYTE $0x63; BYTE $0x50; BYTE $0x04

// Directly behind the commit: MOVL $mark, R11, which leaves the flags alone.
#define COMMITTED BYTE $0x41; BYTE $0xbb; LONG $0x51ab0c05

// The same behind a commit that is followed by RET at once: never executed.
#define COMMITTED_RET RET; BYTE $0x90; LONG $0x51ab0c05

// The signature that the kernel wants before an abort handler, and the end of
// what findSection may read.
#define ABORT LONG $0x53053053
#define END LONG $0x51ab0e0d

// POP_BODY takes one object: slots in, AX out. BX and CX leave as zero, which in the
// register ABI is a nil error; CX is also what an open gate's low half reads.
#define POP_BODY(slots) \
	XORL BX, BX; \
	XORL CX, CX; \
	ARM; \
	LOAD_CPU; \
	SHLQ $8, R10; \
	ADDQ slots, R10; \
	CMPL CX, 8(R10); \
	JNE  slow; \
	MOVQ 0(R10), SI; \
	MOVWLZX SI, R12; \
	MOVQ 16(R10), R11; \
	TESTL R12, R12; \
	JZ   slow; \
	MOVQ -8(R11)(R12*8), AX; \
	ADDQ $0xffff, SI; \
	MOVQ SI, 0(R10)

// PUSH_BODY puts AX on the stack of slots if its owner word is CX.
#define PUSH_BODY(slots) \
	ARM; \
	LOAD_CPU; \
	SHLQ $8, R10; \
	ADDQ slots, R10; \
	CMPL CX, 12(R10); \
	JNE  slow; \
	MOVQ 0(R10), SI; \
	MOVWLZX SI, R12; \
	MOVQ 16(R10), R11; \
	CMPQ R12, 24(R10); \
	JAE  slow; \
	MOVQ AX, (R11)(R12*8); \
	ADDQ $0x10001, SI; \
	MOVQ SI, 0(R10)

// popRegister is a Pop's code: a func() (unsafe.Pointer, error) in Go's register ABI,
// AX BX CX out. DX holds the Pop that it was called through.
TEXT ·popRegister(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ ·rseqOffset(SB), R8
	LEAQ ·popRegisterCS(SB), R9
start:
	POP_BODY(8(DX))
	COMMITTED_RET
slow:
	MOVQ 16(DX), DX
	MOVQ 0(DX), R12
	JMP  R12
	ABORT
	JMP  start
	END

// freeRegister is a Free's code: a func(p unsafe.Pointer), AX in, which stays for the
// slow path. DX as above. What comes before the sequence is Filter.Owner, for nothing
// in it depends on the CPU.
TEXT ·freeRegister(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ AX, R10
	SUBQ 16(DX), R10
	MOVQ R10, R11
	SHRQ $12, R10
	CMPQ R10, 24(DX)
	JAE  slow
	ANDQ 32(DX), R11
	IMULQ 40(DX), R11
	CMPQ R11, 48(DX)
	JAE  slow
	MOVQ 56(DX), R11
	MOVL (R11)(R10*4), CX
	MOVQ ·rseqOffset(SB), R8
	LEAQ ·freeRegisterCS(SB), R9
start:
	PUSH_BODY(8(DX))
	COMMITTED_RET
slow:
	MOVQ 64(DX), DX
	MOVQ 0(DX), R12
	JMP  R12
	ABORT
	JMP  start
	END

// func popStack(slots uintptr) unsafe.Pointer
TEXT ·popStack(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ slots+0(FP), DI
	MOVQ ·rseqOffset(SB), R8
	LEAQ ·popStackCS(SB), R9
start:
	POP_BODY(DI)
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
	MOVQ p+8(FP), AX
	MOVL own+16(FP), CX
	MOVQ ·rseqOffset(SB), R8
	LEAQ ·pushStackCS(SB), R9
start:
	PUSH_BODY(DI)
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
// Closes the gate of the calling CPU's stack, or returns -1. The commit may overwrite
// the mark of a TryLockCPU that swaps the same word from another CPU; that one looks
// again after its barrier.
TEXT ·lockStack(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ slots+0(FP), DI
	MOVQ ·rseqOffset(SB), R8
	LEAQ ·lockStackCS(SB), R9
start:
	ARM
	LOAD_CPU
	CMPL R10, ·ncpu(SB)
	JAE  slow
	MOVQ R10, SI
	SHLQ $8, R10
	ADDQ DI, R10
	MOVQ 8(R10), AX
	TESTB $1, AX
	JNZ  slow
	MOVQ $0x4000000000000001, R11 // heldMark
	ORQ  R11, AX
	MOVQ AX, 8(R10)
	COMMITTED
	MOVQ SI, ret+8(FP)
	RET
slow:
	MOVQ $-1, ret+8(FP)
	RET
	ABORT
	JMP  start
	END

// enterReaders is the code of a Readers' Enter: a func() Index, AX out, DX the enterOp. The index is loaded inside: an interrupted Enter loads it anew. The committing
// addition needs no lock prefix, since only this CPU's sequences add to this row.
TEXT ·enterReaders(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ ·rseqOffset(SB), R8
	LEAQ ·enterReadersCS(SB), R9
start:
	ARM
	LOAD_CPU
	CMPL R10, ·ncpu(SB)
	JAE  slow
	SHLQ $7, R10
	ADDQ 16(DX), R10
	MOVQ 8(DX), AX
	ADDQ $1, 0(R10)(AX*1)
	COMMITTED_RET
slow:
	MOVQ 24(DX), DX
	MOVQ 0(DX), R12
	JMP  R12
	ABORT
	JMP  start
	END

// exitReaders is the code of a Readers' Exit: a func(Index), AX in, DX the exitOp.
TEXT ·exitReaders(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ ·rseqOffset(SB), R8
	LEAQ ·exitReadersCS(SB), R9
start:
	ARM
	LOAD_CPU
	CMPL R10, ·ncpu(SB)
	JAE  slow
	SHLQ $7, R10
	ADDQ 16(DX), R10
	ADDQ $1, 8(R10)(AX*1)
	COMMITTED_RET
slow:
	MOVQ 24(DX), DX
	MOVQ 0(DX), R12
	JMP  R12
	ABORT
	JMP  start
	END

// func rseqCPU() int
TEXT ·rseqCPU(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ ·rseqOffset(SB), R8
	LOAD_CPU
	MOVQ R10, ret+0(FP)
	RET

// These are the code of operations that are their slow path.
TEXT ·passPop(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ 16(DX), DX
	MOVQ 0(DX), R12
	JMP  R12

TEXT ·passFree(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ 64(DX), DX
	MOVQ 0(DX), R12
	JMP  R12

TEXT ·passBySize(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ 24(DX), DX
	MOVQ 0(DX), R12
	JMP  R12

TEXT ·passByOwner(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ 48(DX), DX
	MOVQ 0(DX), R12
	JMP  R12

// popBySize is a PopBySize's code: AX bytes in, DX the PopBySize. Its words: 8 table,
// 16 max, 24 slow.
TEXT ·popBySize(SB), NOSPLIT|NOFRAME, $0-0
	LEAQ -1(AX), R10
	CMPQ R10, 16(DX)
	JAE  slow
	MOVQ 8(DX), R11
	CMPQ R10, $1024
	JAE  coarse
	SHRQ $3, R10
	MOVQ (R11)(R10*8), DX
	MOVQ 0(DX), R12
	JMP  R12
coarse:
	SHRQ $8, R10
	MOVQ 1024(R11)(R10*8), DX
	MOVQ 0(DX), R12
	JMP  R12
slow:
	MOVQ 24(DX), DX
	MOVQ 0(DX), R12
	JMP  R12

// freeByOwner is a FreeByOwner's code: AX object in, DX the FreeByOwner. Its words:
// 8 base, 16 pages, 24 owners, 32 first, 36 n, 40 cells, 48 slow.
TEXT ·freeByOwner(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ AX, R10
	SUBQ 8(DX), R10
	SHRQ $12, R10
	CMPQ R10, 16(DX)
	JAE  slow
	MOVQ 24(DX), R11
	MOVL (R11)(R10*4), R10
	SHRL $8, R10
	SUBL 32(DX), R10
	CMPL R10, 36(DX)
	JAE  slow
	SHLQ $7, R10
	ADDQ 40(DX), R10
	MOVQ R10, DX
	MOVQ 0(DX), R12
	JMP  R12
slow:
	MOVQ 48(DX), DX
	MOVQ 0(DX), R12
	JMP  R12

// func readEntries(e *entries)
TEXT ·readEntries(SB), NOSPLIT, $0-8
	MOVQ e+0(FP), DI
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
	LEAQ ·passPop(SB), AX
	MOVQ AX, 40(DI)
	LEAQ ·passFree(SB), AX
	MOVQ AX, 48(DI)
	LEAQ ·popBySize(SB), AX
	MOVQ AX, 56(DI)
	LEAQ ·freeByOwner(SB), AX
	MOVQ AX, 64(DI)
	LEAQ ·passBySize(SB), AX
	MOVQ AX, 72(DI)
	LEAQ ·passByOwner(SB), AX
	MOVQ AX, 80(DI)
	LEAQ ·enterReaders(SB), AX
	MOVQ AX, 88(DI)
	LEAQ ·exitReaders(SB), AX
	MOVQ AX, 96(DI)
	RET
