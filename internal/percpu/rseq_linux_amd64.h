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
//
// The sequences lie in files by what they work on: rseq_linux_amd64.s has those of one cache's
// stacks, zero_linux_amd64.s those that clear, marked_linux_amd64.s those of hardened caches,
// dispatch_linux_amd64.s, slice_linux_amd64.s and node_linux_amd64.s those that choose among stacks
// or nodes, readers_linux_amd64.s those of sections.

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

// SLOW_ONLY defines the code of operations that are only their slow path.
#define SLOW_ONLY(name, word) TEXT name(SB), NOSPLIT|NOFRAME, $0-0; SLOW_PATH(word)

#define RESTART \
	LONG $const_signature; \
	JMP  start; \
	LONG $const_endMark

// POP_BODY takes one object from the stack of slots to AX. It leaves zero in BX and CX, which in
// the register ABI is a nil error; CX is also compared with the gate's low half. JGE: Stack.Arm.
#define POP_BODY(slots) \
	XORL BX, BX; \
	POP_KEEPING_BX(slots)

#define POP_KEEPING_BX(slots) \
	TOP(slots); \
	MOVQ SI, Stack_head(R10)

// TOP is POP_KEEPING_BX in front of the commit: AX is the object, SI the head without it.
#define TOP(slots) \
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
	ADDQ $const_popOne, SI; JGE slow

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

// CHOOSE_BY_OWNER finds the stacks for the object AX by the words of a FreeByOwner, or goes to
// slow: CX is the owner word of its page, and DI that word without the node, later the address of
// the stacks. SI is the address of the word's served. The stack compares the whole word with its
// own, and so checks the node.
#define CHOOSE_BY_OWNER(pages) \
	PAGE(FreeByOwner_base(DX), pages); \
	MOVQ FreeByOwner_owners(DX), DI; \
	MOVL (DI)(R10*OWNER), CX; \
	MOVL CX, DI; \
	ANDL $const_withoutNode, DI; \
	MOVL DI, SI; \
	ADDQ FreeByOwner_stacks(DX), DI; \
	SUBL FreeByOwner_first(DX), SI; \
	CMPL SI, FreeByOwner_n(DX); \
	JAE  slow; \
	SHRL $(const_NodeBits-const_servedShift), SI; \
	ADDQ FreeByOwner_served(DX), SI; \
	STARTS(served_mask(SI), served_magic(SI), served_limit(SI))

#define FILTER(word) (Free_Filter+word)(DX)

// OWNER_OF finds the owner word of the page in which the object AX begins, by the words of a Free:
// R10 is that word, DI the word without the node.
#define OWNER_OF \
	PAGE(FILTER(Filter_base), FILTER(Filter_pages)); \
	STARTS(FILTER(Filter_mask), FILTER(Filter_magic), FILTER(Filter_limit)); \
	MOVQ FILTER(Filter_owners), R11; \
	MOVL (R11)(R10*OWNER), R10; \
	MOVL R10, DI; \
	ANDL $const_withoutNode, DI
