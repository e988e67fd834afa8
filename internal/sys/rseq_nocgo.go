//go:build !(linux && cgo && (amd64 || arm64))

package sys

import (
	"errors"
	"fmt"
)

// errNoArea is shown to users as the reason why the per-CPU engine is trylock.
var errNoArea = fmt.Errorf("needs Linux and cgo: %w", errors.ErrUnsupported)

// RseqArea returns an error that wraps errors.ErrUnsupported: without C there is no thread-local
// storage at a known distance from the thread pointer.
func RseqArea() (Rseq, error) {
	if err := CallRseqArea.injected(); err != nil {
		return Rseq{}, err
	}
	return Rseq{}, CallRseqArea.wrap(errNoArea)
}

// RseqSize returns 0: there is no area.
func RseqSize() uint32 { return 0 }

// RegisterRseq returns the same error as RseqArea.
func RegisterRseq() error {
	if err := CallRegisterRseq.injected(); err != nil {
		return err
	}
	return CallRegisterRseq.wrap(errNoArea)
}
