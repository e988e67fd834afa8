#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_arm64.h"

// enterReaders is the code of Readers.Enter, a func() Index. It loads the index inside the
// sequence, so that an interrupted Enter loads it again. Only this CPU's sequences add to this row,
// so the commit stores the sum. What the section loads may be loaded before that is visible: see
// Readers.Fence.
TEXT ·enterReaders(SB), NOSPLIT|NOFRAME, $0-0
	SEQUENCE(·enterReadersCS)
	ARM
	LOAD_POSSIBLE_CPU
	MOVD enterOp_rows(R26), R11
	ADD  R10<<const_readerRowShift, R11, R10
	MOVD enterOp_index(R26), R0
	ADD  R0, R10, R10
	MOVD (readerRow_counts+readerCount_enters)(R10), R11
	ADD  $1, R11, R11
	MOVD R11, (readerRow_counts+readerCount_enters)(R10)
	COMMITTED_RET
slow:
	SLOW_PATH(enterOp_slow)
	RESTART

// exitReaders is the code of Readers.Exit, a func(Index). The commit is a release: all loads and
// stores of the section, and the commit of its Enter, come before it.
TEXT ·exitReaders(SB), NOSPLIT|NOFRAME, $0-0
	SEQUENCE(·exitReadersCS)
	ARM
	LOAD_POSSIBLE_CPU
	MOVD exitOp_rows(R26), R11
	ADD  R10<<const_readerRowShift, R11, R10
	ADD  R0, R10, R10
	ADD  $(readerRow_counts+readerCount_exits), R10, R10
	MOVD (R10), R11
	ADD  $1, R11, R11
	STLR R11, (R10)
	COMMITTED_RET
slow:
	SLOW_PATH(exitOp_slow)
	RESTART
