//go:build !(linux && cgo && (amd64 || arm64))

package sys

// RseqArea returns ErrUnsupported: without C there is no thread-local storage
// at a known distance from the thread pointer.
func RseqArea() (Rseq, error) {
	if err := CallRseqArea.injected(); err != nil {
		return Rseq{}, err
	}
	return Rseq{}, CallRseqArea.wrap(ErrUnsupported)
}

// RegisterRseq returns ErrUnsupported.
func RegisterRseq() error {
	if err := CallRegisterRseq.injected(); err != nil {
		return err
	}
	return CallRegisterRseq.wrap(ErrUnsupported)
}
