// Seals and opens documents of dapr.io/enc/v1 with Go's own libraries, written from the format's
// description and from nothing of ours: seal|open KEY-FILE ALGORITHM KEY-NAME, from input to output.
package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"os"
)

const (
	scheme  = "dapr.io/enc/v1"
	segment = 64 << 10
	tag     = 16
)

var algorithms = map[string]int{"A256KW": 1, "A128CBC-NOPAD": 2, "A192CBC-NOPAD": 3, "A256CBC-NOPAD": 4, "RSA-OAEP-256": 5}

type manifest struct {
	KeyName   string `json:"k,omitempty"`
	Algorithm int    `json:"kw"`
	Wrapped   []byte `json:"wfk"`
	Cipher    int    `json:"cph"`
	Prefix    []byte `json:"np"`
}

func must[T any](found T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return found
}

func check(good bool, text string) {
	if !good {
		fmt.Fprintln(os.Stderr, text)
		os.Exit(1)
	}
}

func derive(key, salt []byte, info string) []byte {
	return must(hkdf.Key(sha256.New, key, salt, info, 32))
}

func mac(key, signed []byte) []byte {
	found := hmac.New(sha256.New, derive(key, nil, "header"))
	found.Write(signed)
	return found.Sum(nil)
}

// RFC 3394: one loop, run in either direction.
func keyWrap(block cipher.Block, plain []byte) []byte {
	count := len(plain) / 8
	text := append(bytes.Repeat([]byte{0xA6}, 8), plain...)
	both := make([]byte, 16)
	for round := 0; round < 6; round++ {
		for n := 1; n <= count; n++ {
			copy(both, text[:8])
			copy(both[8:], text[8*n:8*n+8])
			block.Encrypt(both, both)
			step := binary.BigEndian.Uint64(both[:8]) ^ uint64(count*round+n)
			binary.BigEndian.PutUint64(text[:8], step)
			copy(text[8*n:], both[8:])
		}
	}
	return text
}

func keyUnwrap(block cipher.Block, wrapped []byte) []byte {
	count := len(wrapped)/8 - 1
	text, both := bytes.Clone(wrapped), make([]byte, 16)
	for round := 5; round >= 0; round-- {
		for n := count; n >= 1; n-- {
			step := binary.BigEndian.Uint64(text[:8]) ^ uint64(count*round+n)
			binary.BigEndian.PutUint64(both[:8], step)
			copy(both[8:], text[8*n:8*n+8])
			block.Decrypt(both, both)
			copy(text[:8], both[:8])
			copy(text[8*n:], both[8:])
		}
	}
	check(bytes.Equal(text[:8], bytes.Repeat([]byte{0xA6}, 8)), "the key does not fit")
	return text[8:]
}

func wrap(key []byte, algorithm string, data []byte, back bool) []byte {
	if algorithm == "RSA-OAEP-256" {
		block, _ := pem.Decode(key)
		private := must(x509.ParsePKCS8PrivateKey(block.Bytes)).(*rsa.PrivateKey)
		if back {
			return must(rsa.DecryptOAEP(sha256.New(), nil, private, data, nil))
		}
		return must(rsa.EncryptOAEP(sha256.New(), rand.Reader, &private.PublicKey, data, nil))
	}
	block := must(aes.NewCipher(key))
	if algorithm == "A256KW" {
		if back {
			return keyUnwrap(block, data)
		}
		return keyWrap(block, data)
	}
	found := make([]byte, len(data))
	if back {
		cipher.NewCBCDecrypter(block, make([]byte, 16)).CryptBlocks(found, data)
	} else {
		cipher.NewCBCEncrypter(block, make([]byte, 16)).CryptBlocks(found, data)
	}
	return found
}

func payload(key []byte, about manifest) (cipher.AEAD, func(int, bool) []byte) {
	block := must(aes.NewCipher(derive(key, about.Prefix, "payload")))
	nonce := func(number int, last bool) []byte {
		found := binary.BigEndian.AppendUint32(bytes.Clone(about.Prefix), uint32(number))
		if last {
			return append(found, 1)
		}
		return append(found, 0)
	}
	return must(cipher.NewGCM(block)), nonce
}

func seal(key []byte, algorithm, name string, plain []byte) []byte {
	random := make([]byte, 32+7)
	must(rand.Read(random))
	fileKey := random[:32]
	about := manifest{name, algorithms[algorithm], wrap(key, algorithm, fileKey, false), 1, random[32:]}
	out := append([]byte(scheme+"\n"), must(json.Marshal(about))...)
	out = append(out, '\n')
	out = append(base64.StdEncoding.AppendEncode(out, mac(fileKey, out)), '\n')
	aead, nonce := payload(fileKey, about)
	for number := 0; ; number++ {
		last := len(plain) <= segment
		part := plain
		if !last {
			part = plain[:segment]
		}
		out = aead.Seal(out, nonce(number, last), part, nil)
		if last {
			return out
		}
		plain = plain[segment:]
	}
}

func open(key []byte, algorithm, name string, sealed []byte) (out []byte) {
	lines := bytes.SplitN(sealed, []byte("\n"), 4)
	check(len(lines) == 4 && string(lines[0]) == scheme, "no such scheme")
	var about manifest
	check(json.Unmarshal(lines[1], &about) == nil, "no manifest")
	check(about.KeyName == name && about.Algorithm == algorithms[algorithm] && about.Cipher == 1, "another manifest")
	fileKey := wrap(key, algorithm, about.Wrapped, true)
	signed := sealed[:len(lines[0])+len(lines[1])+2]
	check(hmac.Equal(must(base64.StdEncoding.DecodeString(string(lines[2]))), mac(fileKey, signed)), "signature")
	aead, nonce := payload(fileKey, about)
	rest := lines[3]
	for number := 0; ; number++ {
		last := len(rest) <= segment+tag
		part := rest
		if !last {
			part = rest[:segment+tag]
		}
		out = must(aead.Open(out, nonce(number, last), part, nil))
		if last {
			return out
		}
		rest = rest[segment+tag:]
	}
}

func main() {
	key, input := must(os.ReadFile(os.Args[2])), must(io.ReadAll(os.Stdin))
	work := map[string]func([]byte, string, string, []byte) []byte{"seal": seal, "open": open}[os.Args[1]]
	must(os.Stdout.Write(work(key, os.Args[3], os.Args[4], input)))
}
