//go:build amd64 || arm64

package percpu

// stackBounds returns the first address of the calling goroutine's stack, and the one behind it.
// runtime's g begins with these two words (runtime/runtime2.go; cgo and the linker rely on it).
func stackBounds() (lo, hi uintptr)
