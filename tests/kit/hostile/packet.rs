//! The packets: a length, a type, the number of the request, and fields.

use std::io::{self, ErrorKind, Read, Write};

pub const INIT: u8 = 1;
const VERSION: u8 = 2;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;

pub struct Request {
    pub kind: u8,
    pub id: u32,
    fields: Vec<u8>,
    at: usize,
}

impl Request {
    /// `None` at the end of the connection.
    pub fn read(input: &mut impl Read) -> io::Result<Option<Self>> {
        let mut length = [0; 4];
        match input.read_exact(&mut length) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let mut packet = vec![0; u32::from_be_bytes(length) as usize];
        input.read_exact(&mut packet)?;
        let mut request = Self { kind: packet[0], id: 0, fields: packet, at: 1 };
        if request.kind != INIT {
            request.id = request.number()?;
        }
        Ok(Some(request))
    }

    pub fn number(&mut self) -> io::Result<u32> {
        let bytes = self.bytes(4)?;
        Ok(bytes.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte)))
    }

    pub fn long(&mut self) -> io::Result<u64> {
        Ok((u64::from(self.number()?) << 32) | u64::from(self.number()?))
    }

    pub fn text(&mut self) -> io::Result<String> {
        let length = self.number()? as usize;
        String::from_utf8(self.bytes(length)?).map_err(io::Error::other)
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let bytes = self.fields.get(self.at..self.at + length).ok_or(ErrorKind::UnexpectedEof)?.to_vec();
        self.at += length;
        Ok(bytes)
    }
}

pub struct Reply(Vec<u8>);

impl Reply {
    pub fn version() -> Self {
        Self(vec![VERSION, 0, 0, 0, 3])
    }

    pub fn status(id: u32, error: &io::Error) -> Self {
        let code: u32 = match error.kind() {
            ErrorKind::UnexpectedEof => 1,
            ErrorKind::NotFound | ErrorKind::NotADirectory => 2,
            ErrorKind::PermissionDenied => 3,
            ErrorKind::Unsupported => 8,
            _ => 4,
        };
        Self::new(STATUS, id).long_field(&code.to_be_bytes()).text(&error.to_string()).text("")
    }

    pub fn done(id: u32) -> Self {
        Self::new(STATUS, id).long_field(&[0; 4]).text("").text("")
    }

    pub fn handle(id: u32, handle: &str) -> Self {
        Self::new(HANDLE, id).text(handle)
    }

    pub fn data(id: u32, bytes: &[u8]) -> Self {
        Self::new(DATA, id).long_field(&(bytes.len() as u32).to_be_bytes()).long_field(bytes)
    }

    pub fn attributes(id: u32, size: u64, mode: u32) -> Self {
        Self::new(ATTRS, id).attrs(size, mode)
    }

    pub fn names(id: u32, names: &[(String, u64, u32)]) -> Self {
        let reply = Self::new(NAME, id).long_field(&(names.len() as u32).to_be_bytes());
        names.iter().fold(reply, |reply, (name, size, mode)| reply.text(name).text(name).attrs(*size, *mode))
    }

    pub fn write(self, output: &mut impl Write) -> io::Result<()> {
        output.write_all(&(self.0.len() as u32).to_be_bytes())?;
        output.write_all(&self.0)?;
        output.flush()
    }

    fn new(kind: u8, id: u32) -> Self {
        Self(vec![kind]).long_field(&id.to_be_bytes())
    }

    fn long_field(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.long_field(&(text.len() as u32).to_be_bytes()).long_field(text.as_bytes())
    }

    /// Size and permissions.
    fn attrs(self, size: u64, mode: u32) -> Self {
        self.long_field(&5u32.to_be_bytes()).long_field(&size.to_be_bytes()).long_field(&mode.to_be_bytes())
    }
}
