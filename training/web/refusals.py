"""All refusals of the server, each with its status and a sentence in English and Chinese.

The sentences name the limit and what to do next, so that the page can show them unchanged.
"""

from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse


@dataclass(frozen=True, slots=True)
class Reason:
    """One kind of refusal."""

    status: int
    """Of HTTP."""
    en: str
    """May have fields in braces."""
    zh: str
    """With the same fields."""


REASONS: dict[str, Reason] = {
    "not_found": Reason(404, "There is nothing at this address.", "此地址没有内容。"),
    "wrong_method": Reason(405, "This address does not support that method.", "此地址不支持该请求方法。"),
    "foreign_host": Reason(
        403,
        "The server does not accept the host name “{host}”. Open the address that it printed; to reach it by "
        "another name, such as a proxy's, start it with --name {name}.",
        "服务器不接受主机名“{host}”。请打开其启动时显示的地址；若经由代理等以其他名称访问，"
        "请用 --name {name} 启动服务器。",
    ),
    "foreign_origin": Reason(
        403,
        "Only the server's own page may send pictures. If this page is served through a proxy, start the server with "
        "--name {name}.",
        "只有本服务器自己的页面可以发送图片。若本页面经由代理访问，请用 --name {name} 启动服务器。",
    ),
    "bad_request": Reason(
        400,
        "The server cannot read this request: it supports HTTP/1.1 only.",
        "服务器无法读取此请求：仅支持 HTTP/1.1。",
    ),
    "long_head": Reason(
        431,
        "The headers of the request are too long. Delete the cookies of this address, or ask for a shorter one.",
        "请求头过长。请清除此地址的 Cookie，或使用较短的地址。",
    ),
    "not_a_websocket": Reason(
        426,
        "This address is a websocket: open it by a handshake of version 13 without a body, no line of which is longer "
        "than 8192 bytes.",
        "此地址是 WebSocket：请用版本 13 的握手打开，不带正文，每行不超过 8192 字节。",
    ),
    "unfinished": Reason(
        408,
        "The request did not arrive within {seconds} seconds; send it again.",
        "请求未在 {seconds} 秒内送达，请重新发送。",
    ),
    "stopping": Reason(503, "The server is being stopped.", "服务器正在停止。"),
    "not_a_form": Reason(
        415,
        "Send multipart/form-data with a picture in the field “file”.",
        "请以 multipart/form-data 格式发送，图片放在 “file” 字段。",
    ),
    "bad_form": Reason(
        400,
        "The upload is damaged or incomplete, or a name or text in it is too long; send it again, and nothing beside.",
        "上传内容已损坏或中断，或其中的名称、文字过长。请只发送所需内容。",
    ),
    "bad_value": Reason(422, "Field “{field}” must be {allowed}.", "字段 “{field}” 必须是 {allowed}。"),
    "repeated": Reason(
        422,
        "Field “{field}” is sent more than once, or as a file where a text belongs; send it once.",
        "字段 “{field}” 重复发送，或应为文字却发送了文件。请只发送一次。",
    ),
    "no_picture": Reason(
        422,
        "The form has no picture: put one file in the field “file”.",
        "表单中没有图片：请在 “file” 字段放一个文件。",
    ),
    "empty": Reason(422, "The file is empty; choose another one.", "文件是空的，请另选一个。"),
    "too_large": Reason(
        413,
        "The file is larger than {mib} MiB. Make it smaller, for example as a JPEG.",
        "文件超过 {mib} MiB。请缩小后再试，例如存为 JPEG。",
    ),
    "too_many_pixels": Reason(
        413,
        "The picture has more than {megapixels} megapixels. Make it smaller.",
        "图片超过 {megapixels} 百万像素，请缩小后再试。",
    ),
    "not_a_picture": Reason(
        415,
        "The file is not a PNG or JPEG picture, whatever its name says. Choose a photograph.",
        "此文件不是 PNG 或 JPEG 图片（与文件名无关）。请选择一张照片。",
    ),
    "other_type": Reason(
        415, "The file is a {type} file. Save it as PNG or JPEG.", "此文件是 {type} 格式。请存为 PNG 或 JPEG。"
    ),
    "animated": Reason(
        422,
        "The picture has several frames. Save one of them as PNG or JPEG.",
        "图片含有多帧。请将其中一帧存为 PNG 或 JPEG。",
    ),
    "damaged": Reason(
        422,
        "The picture is damaged or incomplete. Open it in another program and save it again.",
        "图片已损坏或不完整。请用其他程序打开并重新保存。",
    ),
    "no_model": Reason(
        422, "No model for a {kind} is loaded. Loaded: {loaded}.", "未加载用于{kind}的模型。已加载：{loaded}。"
    ),
    "undecided": Reason(
        422,
        "Neither a face nor a hand was found. Select head or hand.",
        "未检测到面部或手部。请手动选择：头部或手部。",
    ),
    "no_face": Reason(
        422,
        "No face was found, and this server requires one. Take a picture from the front or the side.",
        "未检测到面部，而本服务器要求图片中有面部。请从正面或侧面拍摄。",
    ),
    "busy": Reason(
        503, "Too many pictures are waiting. Try again in a few seconds.", "等待处理的图片太多，请几秒后再试。"
    ),
    "too_slow": Reason(
        408,
        "The upload was too slow: it may take {seconds} seconds in all and pause for {pause}. Send a smaller file, or "
        "try a better connection.",
        "上传太慢：总共不得超过 {seconds} 秒，中断不得超过 {pause} 秒。请发送较小的文件，或改善网络连接后再试。",
    ),
    "broken_model": Reason(
        500,
        "The model gave no usable result. The administrator of this server should load another one.",
        "模型未给出有效结果。请服务器管理员更换模型。",
    ),
    "internal": Reason(
        500,
        "An error occurred in the server; see its terminal. The picture was not kept.",
        "服务器出错，详情见其终端。图片未被保存。",
    ),
}
"""By code."""
AGAIN_SECONDS = 3
"""Of Retry-After where the server is busy."""


class Refusal(Exception):
    """A request that is not answered with points.

    Args:
        code: of REASONS.
        hang_up: the connection is closed without waiting for the rest of the request.
        values: for the fields of its sentences; a pair where English and Chinese differ.
    """

    def __init__(self, code: str, hang_up: bool = False, **values: Any):
        super().__init__(code)
        self.code = code
        self.hang_up = hang_up
        self.values = values


def failure(refusal: Refusal) -> JSONResponse:
    """The answer to a refused request: ``{"error": {"code", "message", "message_zh"}}``."""
    reason = REASONS[refusal.code]
    message = {
        "code": refusal.code,
        "message": reason.en.format(**_in_language(0, refusal)),
        "message_zh": reason.zh.format(**_in_language(1, refusal)),
    }
    headers = {"Retry-After": str(AGAIN_SECONDS)} if refusal.code == "busy" else {}
    headers |= {"Connection": "close"} if refusal.hang_up else {}
    return JSONResponse({"error": message}, reason.status, headers)


def _in_language(which: int, refusal: Refusal) -> dict[str, Any]:
    return {name: value[which] if isinstance(value, tuple) else value for name, value in refusal.values.items()}
