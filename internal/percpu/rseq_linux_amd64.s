#include "go_asm.h"
#include "textflag.h"

// Restartable sequences: how the code here works on words of the CPU that it runs on without
// a lock or an atomic instruction. docs/percpu.md is the introduction.
//
// The kernel begins anew a sequence that was interrupted: by preemption, a migration, a signal
// (Go's for preemption, too), or since TryLockCPU asked for it with membarrier(2). The last
// instruction is the commit. Before it nothing has happened that anyone else could notice;
// behind it the operation is complete. All sequences look alike,
//
//	SEQUENCE(·popRegisterCS)    names the descriptor; defines start
//	ARM                         tells the kernel; the sequence begins behind this
//	LOAD_CPU
//	...                         to slow if the CPU's words don't allow the operation
//	MOVQ SI, Stack_head(R10)    the commit
//	COMMITTED_RET               or COMMITTED, then results and RET
//	slow:
//	SLOW_PATH(Pop_slow)         or a result that says so, and RET
//	RESTART                     where the kernel resumes who was interrupted: to start
//
// and keep these rules:
//
//   1. It arms itself, loads the CPU number after that, and touches only that CPU's words.
//   2. It loads the stack's gate before any other word of the stack; Unlock stores it last.
//   3. The commit is its only store that anyone else may rely on. What push writes into the
//      array before lies above the size and means nothing yet.
//   4. What a restart needs is in registers that the sequence leaves alone.
//
// A descriptor is a start, a length and the address behind RESTART's signature. The assembler
// can't put those into DATA: findDescriptor reads them off the marks in the code.
//
// Registers: R8 offset of struct rseq from the thread pointer, R9 descriptor, R10 CPU, then its
// stack or row, R11 scratch, R12 size, SI head. Operations are called in Go's register ABI:
// arguments and results in AX BX CX, in DX the func value, which is the operation's struct
// (see Pop). R14 (g) and X15 (zero) are never touched.

#define PTR 8   // bytes
#define OWNER 4 // bytes of an owner word

#define SEQUENCE(descriptor) \
	MOVQ ·rseqOffset(SB), R8; \
	LEAQ descriptor(SB), R9; \
start:

#define ARM MOVQ R9, rseq_cs(R8)(FS*1)

// LOAD_CPU's number is negative on a thread that isn't registered. It then leads to the zeroed
// guard rows in front of CPU 0's, where both bodies below take the slow path. A sequence that
// writes without a test, or whose rows have no guards, needs LOAD_POSSIBLE_CPU.
#define LOAD_CPU MOVLQSX rseq_cpu(R8)(FS*1), R10

#define LOAD_POSSIBLE_CPU \
	LOAD_CPU; \
	CMPL R10, ·ncpu(SB); \
	JAE  slow

// The commit's mark is an immediate operand, which changes R11 and no flag. Directly behind a RET
// it is never executed; RET and the NOP have the length of MOVL's opcode.
#define COMMITTED MOVL $const_commitMark, R11
#define COMMITTED_RET RET; BYTE $0x90; LONG $const_commitMark

// SLOW_PATH jumps to the func value at word, with the arguments of the operation.
#define SLOW_PATH(word) \
	MOVQ word(DX), DX; \
	MOVQ (DX), R12; \
	JMP  R12

#define RESTART \
	LONG $const_signature; \
	JMP  start; \
	LONG $const_endMark

// POP_BODY takes one object from the stack of slots to AX. It leaves zero in BX and CX, which in
// the register ABI is a nil error; CX is also compared with the gate's low half. JGE: Stack.Arm.
#define POP_BODY(slots) \
	XORL BX, BX; \
	XORL CX, CX; \
	ARM; \
	LOAD_CPU; \
	SHLQ $const_rowShift, R10; \
	ADDQ slots, R10; \
	CMPL CX, Stack_gate(R10); \
	JNE  slow; \
	MOVQ Stack_head(R10), SI; \
	MOVWLZX SI, R12; \
	MOVQ Stack_objs(R10), R11; \
	TESTL R12, R12; \
	JZ   slow; \
	MOVQ -PTR(R11)(R12*PTR), AX; \
	ADDQ $const_popOne, SI; JGE slow; \
	MOVQ SI, Stack_head(R10)

// PUSH_BODY puts AX on the stack of slots if its owner word is CX.
#define PUSH_BODY(slots) \
	ARM; \
	LOAD_CPU; \
	SHLQ $const_rowShift, R10; \
	ADDQ slots, R10; \
	CMPL CX, (Stack_gate+const_gateOwn)(R10); \
	JNE  slow; \
	MOVQ Stack_head(R10), SI; \
	MOVWLZX SI, R12; \
	MOVQ Stack_objs(R10), R11; \
	CMPQ R12, Stack_cap(R10); \
	JAE  slow; \
	MOVQ AX, (R11)(R12*PTR); \
	ADDQ $const_pushOne, SI; \
	MOVQ SI, Stack_head(R10)

// PAGE finds AX in an arena's range: R11 its offset, R10 the page's number.
#define PAGE(base, pages) \
	MOVQ AX, R10; \
	SUBQ base, R10; \
	MOVQ R10, R11; \
	SHRQ $const_pageShift, R10; \
	CMPQ R10, pages; \
	JAE  slow

// STARTS is Filter.starts for the offset R11.
#define STARTS(mask, magic, limit) \
	ANDQ  mask, R11; \
	IMULQ magic, R11; \
	CMPQ  R11, limit; \
	JAE   slow

#define FILTER(word) (Free_Filter+word)(DX)

// ZERO clears n bytes at DI, a multiple of 8 and not 0. It uses DI and R11. n is a register, which
// it keeps up to 2 KiB and then leaves 0. AX is kept in R12 for the string instruction.
#define ZERO(n) \
	XORPS X15, X15; LEAQ (DI)(n*1), R11; CMPQ n, $64; JA large; CMPQ n, $16; JBE small; \
	MOVUPS X15, (DI); MOVUPS X15, -16(R11); CMPQ n, $32; JBE cleared; \
	MOVUPS X15, 16(DI); MOVUPS X15, -32(R11); JMP cleared; \
small: MOVQ $0, (DI); MOVQ $0, -8(R11); JMP cleared; \
large: CMPQ n, $2048; JAE string; SUBQ $64, R11; \
	CMPB ·hasAVX(SB), $0; JEQ line; VXORPS Y0, Y0, Y0; \
wide: VMOVUPS Y0, (DI); VMOVUPS Y0, 32(DI); ADDQ $64, DI; CMPQ DI, R11; JB wide; \
	VMOVUPS Y0, (R11); VMOVUPS Y0, 32(R11); VZEROUPPER; JMP cleared; \
line: MOVUPS X15, (DI); MOVUPS X15, 16(DI); MOVUPS X15, 32(DI); MOVUPS X15, 48(DI); \
	ADDQ $64, DI; CMPQ DI, R11; JB line; MOVUPS X15, (R11); MOVUPS X15, 16(R11); \
	MOVUPS X15, 32(R11); MOVUPS X15, 48(R11); JMP cleared; \
string: MOVQ AX, R12; MOVQ n, CX; SHRQ $3, CX; XORL AX, AX; REP; STOSQ; MOVQ R12, AX; \
cleared:

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

// popZero is the code of a PopZero. It clears behind the commit.
TEXT ·popZero(SB), NOSPLIT|NOFRAME, $0-0
	SEQUENCE(·popZeroCS)
	POP_BODY((PopZero_Pop+Pop_slots)(DX))
	COMMITTED
	MOVQ (PopZero_zero+zeroRange_off)(DX), DI
	ADDQ AX, DI
	MOVQ (PopZero_zero+zeroRange_n)(DX), CX
	ZERO(CX)
	XORL CX, CX
	RET
slow:
	SLOW_PATH((PopZero_Pop+Pop_slow))
	RESTART

// freeZero is the code of a FreeZero. It clears in front of the sequence, so that a restart doesn't
// clear again: from the commit on the object may belong to another goroutine. DI is the owner word
// without the node, later the address to clear; SI is the number of bytes.
TEXT ·freeZero(SB), NOSPLIT|NOFRAME, $0-0
	PAGE(FILTER(Filter_base), FILTER(Filter_pages))
	STARTS(FILTER(Filter_mask), FILTER(Filter_magic), FILTER(Filter_limit))
	MOVQ FILTER(Filter_owners), R11
	MOVL (R11)(R10*OWNER), R10
	MOVL R10, DI
	ANDL $const_withoutNode, DI
	CMPL DI, FreeZero_own(DX)
	JNE  slow
	MOVQ AX, DI
	MOVQ (FreeZero_zero+zeroRange_n)(DX), SI
	ZERO(SI)
	MOVL R10, CX
	SEQUENCE(·freeZeroCS)
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

// popBySize is the code of a PopBySize, a func(n int) (unsafe.Pointer, error). R13 keeps n for the
// slow path. DI is n-1, later the address of the stacks.
TEXT ·popBySize(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ AX, R13
	LEAQ -1(AX), DI
	CMPQ DI, PopBySize_max(DX)
	JAE  slow
	MOVQ PopBySize_table(DX), R11
	CMPQ DI, $const_MaxFine
	JAE  coarse
	SHRQ $const_fineShift, DI
	MOVQ (R11)(DI*PTR), DI
found:
	SEQUENCE(·popBySizeCS)
	POP_BODY(DI)
	COMMITTED_RET
slow:
	MOVQ R13, AX
	SLOW_PATH(PopBySize_slow)
coarse:
	SHRQ $const_coarseShift, DI
	MOVQ (const_fineStacks*PTR)(R11)(DI*PTR), DI
	JMP  found
	RESTART

// popByNode is the code of a PopByNode, a func(node int) (unsafe.Pointer, error). R13 keeps the
// node for the slow path. DI is the gate of an open stack for the node's objects. What is compared
// in front of the commit is the owner word of the object's page, without its flag.
TEXT ·popByNode(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ AX, R13
	CMPQ AX, PopByNode_n(DX)
	JAE  slow
	SHLQ $const_nodeGateShift, AX
	ADDQ PopByNode_nodes(DX), AX
	MOVQ NodeGate_gate(AX), DI
	MOVQ NodeGate_closed(AX), R11
	CMPQ (R11), $0
	JNE  slow
	XORL BX, BX; XORL CX, CX
	SEQUENCE(·popByNodeCS)
	ARM
	LOAD_CPU
	SHLQ $const_rowShift, R10
	ADDQ PopByNode_slots(DX), R10
	CMPQ DI, Stack_gate(R10)
	JNE  slow
	MOVQ Stack_head(R10), SI
	MOVWLZX SI, R12
	MOVQ Stack_objs(R10), R11
	TESTL R12, R12
	JZ   slow
	MOVQ -PTR(R11)(R12*PTR), AX
	MOVQ AX, R11
	SUBQ PopByNode_base(DX), R11
	SHRQ $const_pageShift, R11
	MOVQ PopByNode_owners(DX), R12
	MOVL (R12)(R11*OWNER), R12
	ANDL $const_withoutFlags, R12
	SHLQ $const_ownShift, R12
	CMPQ R12, DI
	JNE  slow
	ADDQ $const_popOne, SI; JGE slow
	MOVQ SI, Stack_head(R10)
	COMMITTED_RET
slow:
	MOVQ R13, AX
	SLOW_PATH(PopByNode_slow)
	RESTART

// freeByOwner is the code of a FreeByOwner, a func(p unsafe.Pointer). It leaves AX alone for the
// slow path. DI is the owner word without the node, later the address of the stacks; SI is the
// address of the word's served. The stack compares the whole word with its own, and so checks the
// node.
TEXT ·freeByOwner(SB), NOSPLIT|NOFRAME, $0-0
	PAGE(FreeByOwner_base(DX), FreeByOwner_pages(DX))
	MOVQ FreeByOwner_owners(DX), DI
	MOVL (DI)(R10*OWNER), CX
	MOVL CX, DI
	ANDL $const_withoutNode, DI
	MOVL DI, SI
	ADDQ FreeByOwner_stacks(DX), DI
	SUBL FreeByOwner_first(DX), SI
	CMPL SI, FreeByOwner_n(DX)
	JAE  slow
	SHRL $(const_NodeBits-const_servedShift), SI
	ADDQ FreeByOwner_served(DX), SI
	STARTS(served_mask(SI), served_magic(SI), served_limit(SI))
	SEQUENCE(·freeByOwnerCS)
	PUSH_BODY(DI)
	COMMITTED_RET
slow:
	SLOW_PATH(FreeByOwner_slow)
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

// enterReaders is the code of Readers.Enter, a func() Index. It loads the index inside the
// sequence, so that an interrupted Enter loads it again. The commit is an addition. It needs no
// lock prefix: only this CPU's sequences add to this row.
TEXT ·enterReaders(SB), NOSPLIT|NOFRAME, $0-0
	SEQUENCE(·enterReadersCS)
	ARM
	LOAD_POSSIBLE_CPU
	SHLQ $const_readerRowShift, R10
	ADDQ enterOp_rows(DX), R10
	MOVQ enterOp_index(DX), AX
	ADDQ $1, (readerRow_counts+readerCount_enters)(R10)(AX*1)
	COMMITTED_RET
slow:
	SLOW_PATH(enterOp_slow)
	RESTART

// exitReaders is the code of Readers.Exit, a func(Index).
TEXT ·exitReaders(SB), NOSPLIT|NOFRAME, $0-0
	SEQUENCE(·exitReadersCS)
	ARM
	LOAD_POSSIBLE_CPU
	SHLQ $const_readerRowShift, R10
	ADDQ exitOp_rows(DX), R10
	ADDQ $1, (readerRow_counts+readerCount_exits)(R10)(AX*1)
	COMMITTED_RET
slow:
	SLOW_PATH(exitOp_slow)
	RESTART

// func rseqCPU() int
TEXT ·rseqCPU(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ ·rseqOffset(SB), R8
	LOAD_CPU
	MOVQ R10, ret+0(FP)
	RET

// SLOW_ONLY defines the code of operations that are only their slow path.

#define SLOW_ONLY(name, word) TEXT name(SB), NOSPLIT|NOFRAME, $0-0; SLOW_PATH(word)

SLOW_ONLY(·slowPop, Pop_slow)
SLOW_ONLY(·slowFree, Free_slow)
SLOW_ONLY(·slowBySize, PopBySize_slow)
SLOW_ONLY(·slowByOwner, FreeByOwner_slow)
SLOW_ONLY(·slowByNode, PopByNode_slow)
