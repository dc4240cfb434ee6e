@py -3 "%~dp0fix" %*
@exit /b %ERRORLEVEL%
