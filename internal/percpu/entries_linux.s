//go:build amd64 || arm64

#include "go_asm.h"
#include "textflag.h"

#ifdef GOARCH_amd64
#define ENTRY(text, word) \
	LEAQ text(SB), AX; \
	MOVQ AX, word(DI)
#else
#define ENTRY(text, word) \
	MOVD $text(SB), R0; \
	MOVD R0, word(R1)
#endif

// func readEntries(e *entries)
TEXT ·readEntries(SB), NOSPLIT, $0-8
#ifdef GOARCH_amd64
	MOVQ e+0(FP), DI
#else
	MOVD e+0(FP), R1
#endif
	ENTRY(·popRegister, entries_popRegister)
	ENTRY(·freeRegister, entries_freeRegister)
	ENTRY(·popStack, entries_popStack)
	ENTRY(·pushStack, entries_pushStack)
	ENTRY(·lockStack, entries_lockStack)
	ENTRY(·popBySize, entries_popBySize)
	ENTRY(·freeByOwner, entries_freeByOwner)
	ENTRY(·popZero, entries_popZero)
	ENTRY(·freeZero, entries_freeZero)
	ENTRY(·freeZeroByOwner, entries_freeZeroByOwner)
	ENTRY(·popByNode, entries_popByNode)
	ENTRY(·sliceBySize, entries_sliceBySize)
	ENTRY(·freeSlice, entries_freeSlice)
	ENTRY(·enterReaders, entries_enterReaders)
	ENTRY(·exitReaders, entries_exitReaders)
	ENTRY(·popMarked, entries_popMarked)
	ENTRY(·freeMarked, entries_freeMarked)
	ENTRY(·popMarkedBySize, entries_popMarkedBySize)
	ENTRY(·freeMarkedByOwner, entries_freeMarkedByOwner)
	ENTRY(·spin, entries_spin)
	ENTRY(·slowPop, entries_slowPop)
	ENTRY(·slowFree, entries_slowFree)
	ENTRY(·slowBySize, entries_slowBySize)
	ENTRY(·slowByOwner, entries_slowByOwner)
	ENTRY(·slowByNode, entries_slowByNode)
	ENTRY(·slowSlice, entries_slowSlice)
	ENTRY(·slowFreeSlice, entries_slowFreeSlice)
	RET
