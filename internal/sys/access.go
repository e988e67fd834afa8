package sys

// Access says what may be done with memory.
type Access uint8

const (
	NoAccess  Access = iota // every access faults
	ReadOnly                // pages never written read zero
	ReadWrite               // counts against overcommit limits and RLIMIT_DATA
)

// maxName is the number of bytes that the kernel takes for the name of a mapping.
const maxName = 79

// Name makes a name for SetName of the given text, by leaving out what the kernel refuses.
func Name(text string) string {
	name := make([]byte, 0, maxName)
	for i := 0; i < len(text) && len(name) < maxName; i++ {
		switch c := text[i]; {
		case c < ' ' || c > '~', c == '[', c == ']', c == '\\', c == '$', c == '`':
		default:
			name = append(name, c)
		}
	}
	return string(name)
}
