//go:build cgo

package gpu

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
)

// cacheFile keeps bytes on disk for one device and driver: a pipeline cache, or what [Device.CacheFile] was asked for.
// Drivers need not survive damaged data, so the file carries a head of its own that says whose it is and sums it up:
//
//	bytes  0 …  8   "VKCONVPC"
//	       8 … 40   SHA-256 of the device's and driver's identity, and of what else the data is of
//	      40 … 72   SHA-256 of the data
//	      72 … 80   length of the data, little-endian
//	      80 …      the data
//
// A file that does not match in every point is not read, and written anew at the end.
type cacheFile struct {
	what string // for messages
	path string // "" = none
	key  [32]byte
	log  *slog.Logger
}

const (
	cacheMagic = "VKCONVPC"
	cacheHead  = 80
	cacheMost  = 256 << 20 // longer files are not ours
)

// cacheDir is the folder that an Options.CacheDir means, "" for none.
func cacheDir(dir string, log *slog.Logger) string {
	if dir == "" {
		dir = os.Getenv("VKCONV_CACHE")
	}
	if dir == "" {
		if base, err := os.UserCacheDir(); err == nil {
			dir = filepath.Join(base, "vkconv")
		} else {
			log.Info("no folder for pipeline caches", "error", err)
		}
	}
	if dir == "off" {
		return ""
	}
	return dir
}

// identity says which device and driver it is.
func (i Info) identity() []byte {
	return fmt.Appendf(nil, "1 %q %q %q %d %d %d %v %x %x", i.Name, i.Driver, i.DriverInfo, i.DriverVersion, i.VendorID,
		i.DeviceID, i.API, i.CacheUUID, i.DeviceUUID)
}

func newCacheFile(dir, what, prefix string, key [32]byte, log *slog.Logger) cacheFile {
	c := cacheFile{what: what, key: key, log: log}
	if dir != "" {
		c.path = filepath.Join(dir, prefix+"-"+hex.EncodeToString(key[:8])+".bin")
	}
	return c
}

// CacheFile is a file for what a program found out about a device and its driver, beside the pipeline cache, see
// Options.CacheDir. It is never read by another device or driver, nor damaged or cut short.
type CacheFile struct{ file cacheFile }

// CacheFile returns the file of this device and driver for what is found out about of; kind, a word, is the first part
// of its name. Nothing is opened yet.
func (d *Device) CacheFile(kind string, of []byte) CacheFile {
	key := sha256.Sum256(fmt.Appendf(nil, "%s %q %x", d.info.identity(), kind, sha256.Sum256(of)))
	return CacheFile{newCacheFile(d.cacheDir, "the cache file "+kind, kind, key, d.log)}
}

// Path is where the file is or would be; "" where nothing is kept.
func (c CacheFile) Path() string { return c.file.path }

// Load returns what is kept, or nil. A file that is there but no good is logged as a warning.
func (c CacheFile) Load() []byte { return c.file.load() }

// Keep keeps data, unless another program or engine kept something meanwhile, and returns what is kept: the first stays.
// Where nothing can be written that is logged, and data is returned.
func (c CacheFile) Keep(data []byte) []byte { return c.file.keep(data) }

// Replace keeps data in place of whatever is kept.
func (c CacheFile) Replace(data []byte) { c.file.save(data) }

// load returns the data, or nil when there is none to be used.
func (c *cacheFile) load() []byte {
	if c.path == "" {
		return nil
	}
	f, err := os.Open(c.path)
	if err != nil {
		if !os.IsNotExist(err) {
			c.log.Warn(c.what+" cannot be read", "error", err)
		}
		return nil
	}
	defer f.Close()
	all, err := io.ReadAll(io.LimitReader(f, cacheMost))
	if err != nil {
		c.log.Warn(c.what+" cannot be read", "error", err)
		return nil
	}
	data, why := c.open(all)
	if why != "" {
		c.log.Warn(c.what+" is ignored and will be written anew", "file", c.path, "why", why)
	}
	return data
}

func (c *cacheFile) open(all []byte) (data []byte, why string) {
	if len(all) < cacheHead || string(all[:8]) != cacheMagic {
		return nil, "it is no cache of this program"
	}
	if !bytes.Equal(all[8:40], c.key[:]) {
		return nil, "it belongs to another device or driver"
	}
	data = all[cacheHead:]
	if n := binary.LittleEndian.Uint64(all[72:80]); n != uint64(len(data)) {
		return nil, fmt.Sprintf("it has %d bytes of data and should have %d", len(data), n)
	}
	if sum := sha256.Sum256(data); !bytes.Equal(all[40:72], sum[:]) {
		return nil, "its sum does not match"
	}
	return data, ""
}

// save writes the data beside the old file and then puts it in its place, so that readers see the one or the other whole.
// Failure costs time at the next start and nothing else; it is logged.
func (c *cacheFile) save(data []byte) {
	if c.path == "" || len(data) == 0 || len(data) > cacheMost-cacheHead {
		return
	}
	if err := c.write(data); err != nil {
		c.log.Warn(c.what+" was not written", "error", err)
	}
}

func (c *cacheFile) write(data []byte) error {
	name, err := c.beside(data)
	if err != nil {
		return err
	}
	defer os.Remove(name) // gone already when all went well
	return os.Rename(name, c.path)
}

// keep is save, but what is there and good stays, and is returned. A hard link is made only where there is no file, so of
// two that keep at once one comes first; on file systems without links both could, and the later one stays.
func (c *cacheFile) keep(data []byte) []byte {
	if c.path == "" || len(data) == 0 || len(data) > cacheMost-cacheHead {
		return data
	}
	name, err := c.beside(data)
	if err == nil {
		defer os.Remove(name)
		if err = os.Link(name, c.path); err != nil {
			if old := c.load(); old != nil {
				return old
			}
			err = os.Rename(name, c.path)
		}
	}
	if err != nil {
		c.log.Warn(c.what+" was not written", "error", err)
	}
	return data
}

// beside writes the file under another name in its folder.
func (c *cacheFile) beside(data []byte) (name string, err error) {
	dir := filepath.Dir(c.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, filepath.Base(c.path)+".*.tmp")
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	head := make([]byte, 0, cacheHead)
	head = append(head, cacheMagic...)
	head = append(head, c.key[:]...)
	head = append(head, sum[:]...)
	head = binary.LittleEndian.AppendUint64(head, uint64(len(data)))
	_, err = f.Write(append(head, data...))
	if e := f.Sync(); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}
