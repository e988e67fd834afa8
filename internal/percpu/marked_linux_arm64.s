#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_arm64.h"
#include "memory_linux_arm64.h"

// MARK finds the mark of the object R0: R12 is its address.
#define MARK(shift, bias) \
	MOVD shift, R11; \
	LSR  R11, R0, R12; \
	MOVD bias, R11; \
	ADD  R11, R12, R12

// MARKED is a word of the MarkedObjects at R14.
#define MARKED(word) (MarkedObjects_filter+word)(R14)
#define MARKED_MARKS(word) (MarkedObjects_marks+word)(R14)

// IS_OBJECT goes to slow unless R0 is one of the MarkedObjects at R14. It uses R7, R11, R12 and
// R15.
#define IS_OBJECT \
	MOVD MARKED(Filter_base), R12; \
	SUB  R12, R0, R11; \
	LSR  $const_pageShift, R11, R7; \
	MOVD MARKED(Filter_pages), R12; \
	CMP  R12, R7; \
	BHS  slow; \
	MOVD MARKED(Filter_owners), R12; \
	MOVWU (R12)(R7<<2), R15; \
	AND  $const_withoutNode, R15, R15; \
	MOVWU MarkedObjects_own(R14), R12; \
	CMPW R12, R15; \
	BNE  slow; \
	STARTS(MARKED(Filter_mask), MARKED(Filter_magic), MARKED(Filter_limit))

// TAKE_MARKED takes one of the MarkedObjects at R14 from its stack to R0, and marks it.
#define TAKE_MARKED \
	TOP(MARKED(Filter_slots)); \
	IS_OBJECT; \
	MARK(MARKED_MARKS(ObjectMarks_shift), MARKED_MARKS(ObjectMarks_bias)); \
	MOVBU (R12), R11; \
	CMPW $const_MarkInUse, R11; \
	BEQ  slow; \
	MOVD MARKED_MARKS(ObjectMarks_clear), R7; \
	CBZ  R7, zero; \
	ALL_ZERO \
	MOVD R13, Stack_head(R10); \
	COMMITTED; \
	MOVD $const_MarkInUse, R11; \
	MOVB R11, (R12); \
	NO_ERROR; \
	RET

// CLAIM marks the object R0 as free, or goes to slow if it is not in use. R20 is then 1, as which
// slow knows that it is claimed. Then CLAIM clears the object. A pair of exclusive accesses that is
// interrupted fails and is tried again.
#define CLAIM(shift, bias, clear) \
	MARK(shift, bias); \
	MOVD clear, R7; \
	MOVD $const_MarkFree, R13; \
again: LDAXRB (R12), R11; \
	CMPW $const_MarkInUse, R11; \
	BNE  slow; \
	STLXRB R13, (R12), R11; \
	CBNZW R11, again; \
	MOVD $1, R20; \
	CBZ  R7, cleared; \
	MOVD R0, R14; \
	ZERO(R7)

#define FREE_MARKS(word) (FreeMarked_marks+word)(R26)

// popMarked is the code of a PopMarked.
TEXT ·popMarked(SB), NOSPLIT|NOFRAME, $0-0
	ADD $PopMarked_of, R26, R14
	SEQUENCE(·popMarkedCS)
	TAKE_MARKED
slow:
	SLOW_PATH(PopMarked_Pop+Pop_slow)
	RESTART

// popMarkedBySize is the code of a PopBySize after FillMarked: popBySize with the address of
// MarkedObjects in R14. FillMarked stores the address of this code last. The caller has read it
// there by a plain load; the acquire reads it again, so that the other words are loaded behind it.
TEXT ·popMarkedBySize(SB), NOSPLIT|NOFRAME, $0-0
	LDAR (R26), R11
	MOVD R0, R19
	SUB  $1, R0, R14
	MOVD PopBySize_marked(R26), R11
	CMP  R11, R14
	BHS  slow
	MOVD PopBySize_marks(R26), R11
	CMP  $const_MaxFine, R14
	BHS  coarse
	LSR  $const_fineShift, R14, R14
found:
	MOVD (R11)(R14<<3), R14
	SEQUENCE(·popMarkedBySizeCS)
	TAKE_MARKED
slow:
	MOVD R19, R0
	SLOW_PATH(PopBySize_slow)
coarse:
	LSR $const_coarseShift, R14, R14
	ADD $const_fineStacks, R14, R14
	JMP found
	RESTART

// freeMarked is the code of a FreeMarked. It claims and clears in front of the sequence, as
// freeZero does. R20 is 0 until the object is claimed.
TEXT ·freeMarked(SB), NOSPLIT|NOFRAME, $0-0
	MOVD  ZR, R20
	OWNER_WORD
	AND   $const_withoutNode, R15, R12
	MOVWU FreeMarked_own(R26), R11
	CMPW  R11, R12
	BNE   slow
	CLAIM(FREE_MARKS(ObjectMarks_shift), FREE_MARKS(ObjectMarks_bias), FREE_MARKS(ObjectMarks_clear))
	SEQUENCE(·freeMarkedCS)
	PUSH_BODY(FILTER(Filter_slots))
	COMMITTED_RET
slow:
	CBNZ R20, claimed
	SLOW_PATH(Free_slow)
claimed:
	SLOW_PATH(FreeMarked_claimed)
	RESTART

// freeMarkedByOwner is the code of a FreeByOwner after FillMarked. R21 is the address of the
// stacks. The acquire is as in popMarkedBySize.
TEXT ·freeMarkedByOwner(SB), NOSPLIT|NOFRAME, $0-0
	LDAR (R26), R11
	MOVD ZR, R20
	MOVD FreeByOwner_ownPages(R26), R13
	CHOOSE_BY_OWNER
	MOVD R14, R21
	MOVD FreeByOwner_served(R26), R12
	SUB  R12, R19, R19
	MOVD FreeByOwner_marks(R26), R12
	ADD  R12, R19, R19
	CLAIM(ObjectMarks_shift(R19), ObjectMarks_bias(R19), ObjectMarks_clear(R19))
	SEQUENCE(·freeMarkedByOwnerCS)
	PUSH_BODY(R21)
	COMMITTED_RET
slow:
	CBNZ R20, claimed
	SLOW_PATH(FreeByOwner_slow)
claimed:
	SLOW_PATH(FreeByOwner_claimed)
	RESTART
