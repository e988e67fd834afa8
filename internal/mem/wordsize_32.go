//go:build 386 || arm || mips || mipsle

package mem

// Arenas, packed words and the checks of pointers need addresses of 64 bits. This line fails to
// compile elsewhere, with a sentence instead of some twenty errors about constants. All packages
// that touch raw memory import this one, so the compiler stops here.
const _ uint8 = "slubd needs a 64-bit system, for example GOARCH=amd64 or GOARCH=arm64"
