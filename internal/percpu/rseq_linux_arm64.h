// Restartable sequences of arm64. What a sequence is, and its rules, are in rseq_linux_amd64.h;
// here is what differs. docs/percpu.md argues the order of memory accesses.
//
//	SEQUENCE(·popRegisterCS)     finds struct rseq, names the descriptor, defines start
//	ARM                          tells the kernel; the sequence begins behind this
//	LOAD_CPU
//	ACQUIRE(Stack_gate, R10, R11)
//	...                          to slow if the CPU's words don't allow the operation
//	MOVD R13, Stack_head(R10)    the commit, one instruction
//	COMMITTED_RET                or COMMITTED, then results and RET
//	slow:
//	SLOW_PATH(Pop_slow)
//	RESTART
//
// The processor may do loads and stores in another order than the program's, as other CPUs see
// them. Other CPUs change a stack's words under its lock only, and Unlock stores the gate last, as
// a release. So a sequence loads the gate first, as an acquire, with the same width. What a
// sequence stores is read by its own CPU, by code behind a membarrier, or by a goroutine that
// learns of the operation from the caller: none of these needs a release. The commit of exitReaders
// is the exception.
//
// The assembler makes several instructions of some, with R27 in between. That does no harm in front
// of a commit: a restart repeats them. endOfCommit checks that the commit is one.
//
// Registers: R8 thread's struct rseq, R9 descriptor, R10 CPU, then its stack or row, R11 scratch,
// R12 size or scratch, R13 head, R14 address of stacks, R15 owner word, R19 and R20 what the slow
// path needs. Arguments and results are in R0 to R4, the func value is in R26. R16 to R18 and R27
// to R30 are the linker's, the system's and Go's.

#define PTR 8 // bytes

#define SEQUENCE(descriptor) \
	MRS  TPIDR_EL0, R8; \
	MOVD ·rseqOffset(SB), R9; \
	ADD  R9, R8; \
	MOVD $descriptor(SB), R9; \
start:

#define ARM MOVD R9, rseq_cs(R8)

// LOAD_CPU is as on amd64: a negative number leads to the zeroed guard rows.
#define LOAD_CPU MOVW rseq_cpu(R8), R10

#define LOAD_POSSIBLE_CPU \
	LOAD_CPU; \
	MOVWU ·ncpu(SB), R11; \
	CMPW R11, R10; \
	BHS  slow

// ACQUIRE loads a word of 64 bits to reg. No later load is done before it.
#define ACQUIRE(word, base, reg) \
	ADD  $(word), base, reg; \
	LDAR (reg), reg

#define COMMITTED WORD $const_commitMark
#define COMMITTED_RET RET; WORD $const_commitMark

#define SLOW_PATH(word) \
	MOVD (word)(R26), R26; \
	MOVD (R26), R11; \
	JMP  (R11)

#define SLOW_ONLY(name, word) TEXT name(SB), NOSPLIT|NOFRAME, $0-0; SLOW_PATH(word)

#define RESTART \
	WORD $const_signature; \
	JMP  start; \
	WORD $const_endMark

// LOAD_STACK begins a sequence on the stack of slots: R10 is its address, R11 its gate.
#define LOAD_STACK(slots) \
	ARM; \
	LOAD_CPU; \
	MOVD slots, R11; \
	ADD  R10<<const_rowShift, R11, R10; \
	ACQUIRE(Stack_gate, R10, R11)

// LOAD_TOP loads the head to R13 and the top object to R0.
#define LOAD_TOP \
	MOVD Stack_head(R10), R13; \
	MOVD Stack_objs(R10), R11; \
	ANDS $const_sizeMask, R13, R12; \
	BEQ  slow; \
	ADD  R12<<3, R11, R11; \
	MOVD -PTR(R11), R0

// ONE_LESS is the head without the top object, to be stored by the commit. BGE: Stack.Arm.
#define ONE_LESS \
	MOVD $const_popOne, R12; \
	ADDS R12, R13, R13; \
	BGE  slow

// TOP is a pop in front of its commit: R0 is the object, R13 the head without it.
#define TOP(slots) \
	LOAD_STACK(slots); \
	CBNZW R11, slow; \
	LOAD_TOP; \
	ONE_LESS

#define NO_ERROR \
	MOVD ZR, R1; \
	MOVD ZR, R2

// POP_BODY takes one object from the stack of slots to R0.
#define POP_BODY(slots) \
	TOP(slots); \
	MOVD R13, Stack_head(R10)

// PUSH_BODY puts R0 on the stack of slots if its owner word is R15.
#define PUSH_BODY(slots) \
	LOAD_STACK(slots); \
	LSR  $const_ownShift, R11, R11; \
	CMPW R15, R11; \
	BNE  slow; \
	MOVD Stack_head(R10), R13; \
	MOVD Stack_objs(R10), R11; \
	AND  $const_sizeMask, R13, R12; \
	MOVD Stack_cap(R10), R7; \
	CMP  R7, R12; \
	BHS  slow; \
	MOVD R0, (R11)(R12<<3); \
	MOVD $const_pushOne, R12; \
	ADD  R12, R13, R13; \
	MOVD R13, Stack_head(R10)

// PAGE finds R0 in an arena's range that has R13 pages: R11 is its offset, R10 the page's number.
#define PAGE(base) \
	MOVD base, R12; \
	SUB  R12, R0, R11; \
	LSR  $const_pageShift, R11, R10; \
	CMP  R13, R10; \
	BHS  slow

// STARTS is Filter.starts for the offset R11.
#define STARTS(mask, magic, limit) \
	MOVD mask, R12; \
	AND  R12, R11; \
	MOVD magic, R12; \
	MUL  R12, R11; \
	MOVD limit, R12; \
	CMP  R12, R11; \
	BHS  slow

#define FILTER(word) (Free_Filter+word)(R26)

// OWNER_WORD loads the owner word of the page of R0 to R15, or goes to slow if no object of the
// filter can start there.
#define OWNER_WORD \
	MOVD FILTER(Filter_pages), R13; \
	PAGE(FILTER(Filter_base)); \
	STARTS(FILTER(Filter_mask), FILTER(Filter_magic), FILTER(Filter_limit)); \
	MOVD FILTER(Filter_owners), R11; \
	MOVWU (R11)(R10<<2), R15

// CHOOSE_BY_OWNER finds the stacks for the object R0 by the words of a FreeByOwner, or goes to
// slow: R15 is the owner word of its page, R14 the address of the stacks. R19 is the address of the
// word's served. R13 is the number of pages, loaded as an acquire: Fill stores it last.
#define CHOOSE_BY_OWNER \
	PAGE(FreeByOwner_base(R26)); \
	MOVD FreeByOwner_owners(R26), R12; \
	MOVWU (R12)(R10<<2), R15; \
	AND  $const_withoutNode, R15, R14; \
	MOVWU FreeByOwner_first(R26), R12; \
	SUBW R12, R14, R19; \
	MOVWU FreeByOwner_n(R26), R12; \
	CMPW R12, R19; \
	BHS  slow; \
	MOVD FreeByOwner_stacks(R26), R12; \
	ADD  R12, R14, R14; \
	LSR  $(const_NodeBits-const_servedShift), R19, R19; \
	MOVD FreeByOwner_served(R26), R12; \
	ADD  R12, R19, R19; \
	STARTS(served_mask(R19), served_magic(R19), served_limit(R19))
