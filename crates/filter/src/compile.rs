//! From the text of a filter to a program.

use pcap::{Capture, Linktype};

use crate::{Instruction, Program, ProgramFault};

/// Longest text of a filter, in bytes.
pub const MAX_TEXT_BYTES: usize = 8192;

/// A filter that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the filter \"{text}\" cannot be used: {cause}")]
pub struct FilterError {
    /// The text, as it was given, or its beginning if it is too long.
    pub text: String,
    /// Why.
    pub cause: RefusalCause,
}

/// Why a filter cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusalCause {
    /// The text has more than [`MAX_TEXT_BYTES`].
    #[error("it is longer than {MAX_TEXT_BYTES} bytes")]
    TooLong,
    /// libpcap refused it, in its words.
    #[error("{0}; pcap-filter(7) says what can be written, as \"tcp port 1433\"")]
    Libpcap(String),
    /// What libpcap made of it is no program for a worker.
    #[error("{0}")]
    Program(#[from] ProgramFault),
}

/// Compiles `text`, in the syntax of pcap-filter(7), for Ethernet frames. An empty text wants every frame.
///
/// Names of hosts and services are looked up now and not again, which may take as long as the resolver does.
///
/// # Errors
///
/// When libpcap refuses the text, or when the filter cannot be judged by a frame alone or needs a loop.
pub fn compile(text: &str) -> Result<Program, FilterError> {
    if text.len() > MAX_TEXT_BYTES {
        let beginning = text.chars().take(60).chain("…".chars()).collect();
        return Err(FilterError { text: beginning, cause: RefusalCause::TooLong });
    }
    try_compile(text).map_err(|cause| FilterError { text: text.to_owned(), cause })
}

fn try_compile(text: &str) -> Result<Program, RefusalCause> {
    // Of 65535 bytes per frame; a program says how many it wants, and we look only at whether it wants any.
    let compiler = Capture::dead(Linktype::ETHERNET).map_err(of_libpcap)?;
    let compiled = compiler.compile(text, true).map_err(of_libpcap)?;
    let instructions = compiled.get_instructions().iter();
    // The crate shows the four numbers of an instruction in no other way than this text, which iptables reads too.
    let instructions = instructions.map(|instruction| instruction.to_string().parse());
    let instructions: Vec<Instruction> = instructions
        .collect::<Result<_, _>>()
        .map_err(|error| RefusalCause::Libpcap(format!("{error}")))?;
    Ok(Program::verify(&instructions)?)
}

fn of_libpcap(error: pcap::Error) -> RefusalCause {
    RefusalCause::Libpcap(match error {
        pcap::Error::PcapError(words) => words,
        pcap::Error::InvalidInputString => "it has a zero byte in it".to_owned(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fault;

    fn cause(text: &str) -> RefusalCause {
        compile(text).unwrap_err().cause
    }

    #[test]
    fn an_empty_filter_wants_every_frame_and_one_that_cannot_hold_wants_none() {
        for text in ["", " ", "len >= 0"] {
            assert!(compile(text).unwrap().accepts(&[], &[][..], 0), "{text}");
        }
        let none = compile("less 20 and greater 30").unwrap();
        assert!(!none.accepts(&[0; 25], &[][..], 25));
    }

    #[test]
    fn a_filter_is_refused_with_its_text_and_the_words_of_libpcap() {
        let told = compile("tcp prot 80").unwrap_err().to_string();
        assert!(told.starts_with("the filter \"tcp prot 80\" cannot be used: "), "{told}");
        assert!(told.contains("pcap-filter(7)"), "{told}");
        assert!(told.contains("syntax error"), "{told}");
        for text in
            ["host 10.0.0.256", "tcp and", "port 70000", "vlan 5000", "wlan type mgt", "tcp\0"]
        {
            assert!(
                matches!(cause(text), RefusalCause::Libpcap(words) if words.len() > 5),
                "{text}"
            );
        }
    }

    #[test]
    fn a_filter_that_needs_a_loop_is_refused() {
        let RefusalCause::Program(fault) = cause("ip6 protochain 6") else { panic!() };
        assert_eq!(fault.fault, Fault::JumpOutside);
        assert!(fault.to_string().contains("protochain"));
    }

    #[test]
    fn a_filter_that_asks_the_kernel_is_refused() {
        for text in ["inbound", "outbound and tcp"] {
            let told = cause(text);
            let of_ours =
                matches!(&told, RefusalCause::Program(fault) if fault.fault == Fault::NotInFrame);
            let of_libpcap =
                matches!(&told, RefusalCause::Libpcap(words) if words.contains("inbound"));
            assert!(of_ours || of_libpcap, "{told}");
        }
    }

    #[test]
    fn a_text_may_be_8192_bytes_long() {
        let mut text = "tcp".to_owned();
        text.extend(std::iter::repeat_n(' ', MAX_TEXT_BYTES - 3));
        assert!(compile(&text).is_ok());
        text.push(' ');
        let refused = compile(&text).unwrap_err();
        assert_eq!((refused.cause, refused.text.chars().count()), (RefusalCause::TooLong, 61));
    }
}
