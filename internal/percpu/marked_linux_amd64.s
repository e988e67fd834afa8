#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_amd64.h"
#include "memory_linux_amd64.h"

// MARK finds the mark of the object AX: R12 is its address. It uses CX.
#define MARK(shift, bias) \
	MOVQ shift, CX; \
	MOVQ AX, R12; \
	SHRQ CX, R12; \
	ADDQ bias, R12

// MARKED is a word of the MarkedObjects at DI.
#define MARKED(word) (MarkedObjects_filter+word)(DI)
#define MARKED_MARKS(word) (MarkedObjects_marks+word)(DI)

// IS_OBJECT goes to slow unless AX is one of the MarkedObjects at DI. It uses BX, R11 and R12.
#define IS_OBJECT \
	MOVQ AX, R11; \
	SUBQ MARKED(Filter_base), R11; \
	MOVQ R11, R12; \
	SHRQ $const_pageShift, R12; \
	CMPQ R12, MARKED(Filter_pages); \
	JAE  slow; \
	MOVQ MARKED(Filter_owners), BX; \
	MOVL (BX)(R12*OWNER), BX; \
	ANDL $const_withoutNode, BX; \
	CMPL BX, MarkedObjects_own(DI); \
	JNE  slow; \
	STARTS(MARKED(Filter_mask), MARKED(Filter_magic), MARKED(Filter_limit))

// TAKE_MARKED takes one of the MarkedObjects at DI from its stack to AX, and marks it. Behind the
// commit BX and CX become zero.
#define TAKE_MARKED \
	TOP(MARKED(Filter_slots)); \
	IS_OBJECT; \
	MARK(MARKED_MARKS(ObjectMarks_shift), MARKED_MARKS(ObjectMarks_bias)); \
	CMPB (R12), $const_MarkInUse; \
	JEQ  slow; \
	MOVQ MARKED_MARKS(ObjectMarks_clear), CX; \
	TESTQ CX, CX; \
	JZ   zero; \
	ALL_ZERO \
	MOVQ SI, Stack_head(R10); \
	COMMITTED; \
	MOVB $const_MarkInUse, (R12); \
	XORL BX, BX; \
	XORL CX, CX; \
	RET

// CLAIM marks the object AX as free, or goes to slow if it is not in use. R13 becomes its owner
// word R10, as which slow knows that it is claimed. Then CLAIM clears the object. It uses R9.
#define CLAIM(shift, bias, clear) \
	MARK(shift, bias); \
	MOVQ clear, SI; \
	MOVQ AX, DI; \
	MOVL $const_MarkFree, R9; \
	MOVL $const_MarkInUse, AX; \
	LOCK; \
	CMPXCHGB R9, (R12); \
	MOVQ DI, AX; \
	JNE  slow; \
	MOVL R10, R13; \
	TESTQ SI, SI; \
	JZ   cleared; \
	ZERO(SI)

#define FREE_MARKS(word) (FreeMarked_marks+word)(DX)

// popMarked is the code of a PopMarked.
TEXT ·popMarked(SB), NOSPLIT|NOFRAME, $0-0
	LEAQ PopMarked_of(DX), DI
	SEQUENCE(·popMarkedCS)
	TAKE_MARKED
slow:
	SLOW_PATH((PopMarked_Pop+Pop_slow))
	RESTART

// popMarkedBySize is the code of a PopBySize after FillMarked: popBySize with the address of
// MarkedObjects in DI.
TEXT ·popMarkedBySize(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ AX, R13
	LEAQ -1(AX), DI
	CMPQ DI, PopBySize_marked(DX)
	JAE  slow
	MOVQ PopBySize_marks(DX), R11
	CMPQ DI, $const_MaxFine
	JAE  coarse
	SHRQ $const_fineShift, DI
	MOVQ (R11)(DI*PTR), DI
found:
	SEQUENCE(·popMarkedBySizeCS)
	TAKE_MARKED
slow:
	MOVQ R13, AX
	SLOW_PATH(PopBySize_slow)
coarse:
	SHRQ $const_coarseShift, DI
	MOVQ (const_fineStacks*PTR)(R11)(DI*PTR), DI
	JMP  found
	RESTART

// freeMarked is the code of a FreeMarked. It claims and clears in front of the sequence, as
// freeZero does. R13 is 0 until the object is claimed.
TEXT ·freeMarked(SB), NOSPLIT|NOFRAME, $0-0
	XORL R13, R13
	OWNER_OF
	CMPL DI, FreeMarked_own(DX)
	JNE  slow
	CLAIM(FREE_MARKS(ObjectMarks_shift), FREE_MARKS(ObjectMarks_bias), FREE_MARKS(ObjectMarks_clear))
	MOVL R13, CX
	SEQUENCE(·freeMarkedCS)
	PUSH_BODY(FILTER(Filter_slots))
	COMMITTED_RET
slow:
	TESTL R13, R13
	JNZ  claimed
	SLOW_PATH(Free_slow)
claimed:
	SLOW_PATH(FreeMarked_claimed)
	RESTART

// freeMarkedByOwner is the code of a FreeByOwner after FillMarked. BX is the address of the stacks.
TEXT ·freeMarkedByOwner(SB), NOSPLIT|NOFRAME, $0-0
	XORL R13, R13
	CHOOSE_BY_OWNER(FreeByOwner_ownPages(DX))
	MOVQ DI, BX
	MOVL CX, R10
	SUBQ FreeByOwner_served(DX), SI
	ADDQ FreeByOwner_marks(DX), SI
	CLAIM(ObjectMarks_shift(SI), ObjectMarks_bias(SI), ObjectMarks_clear(SI))
	MOVL R13, CX
	SEQUENCE(·freeMarkedByOwnerCS)
	PUSH_BODY(BX)
	COMMITTED_RET
slow:
	TESTL R13, R13
	JNZ  claimed
	SLOW_PATH(FreeByOwner_slow)
claimed:
	SLOW_PATH(FreeByOwner_claimed)
	RESTART
